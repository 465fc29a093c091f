"""An audit as plain data and as HTML, for reports, the command line and the web."""
