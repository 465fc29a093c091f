"""What the audits that have ended are found and counted by."""
