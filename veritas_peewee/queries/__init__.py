"""Every question: by filters, in pages, by text, counted, compared, as a series."""
