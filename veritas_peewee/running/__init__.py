"""An audit's engine as a child process, and what it tells recorded as it comes."""
