"""Events as they are committed: read once for all who follow, from this process and others."""
