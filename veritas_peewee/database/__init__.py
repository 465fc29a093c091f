"""One connection: its transactions, what runs on it, and which one is current in a thread."""
