"""What an operator does with a store: verify, repair, back up, restore, examine, prune."""
