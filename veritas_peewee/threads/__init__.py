"""One writer, group commit, readers, and the slots that callers wait for; knows no table."""
