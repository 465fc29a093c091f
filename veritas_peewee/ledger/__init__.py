"""The log of all that was recorded, as a hash chain, and the digests and seals over the rows."""
