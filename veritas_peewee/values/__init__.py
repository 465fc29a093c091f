"""What can be stored, as plain values: text, numbers, JSON, moments, ids, addresses."""
