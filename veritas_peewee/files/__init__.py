"""Files on disk: written whole or not at all, and never outside the folder they belong to."""
