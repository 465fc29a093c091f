"""The log of everything recorded, as a hash chain, and the digests and seals over the rows."""
