"""What an operator does with a store: verify, back up, restore, look after, prune."""
