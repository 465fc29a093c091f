"""Every change of an audit: prepared anywhere, applied on the writer."""
