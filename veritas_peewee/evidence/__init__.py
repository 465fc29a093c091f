"""What a stranger can check: the log as a Merkle tree, signed checkpoints, proofs, and times."""
