"""How Sphinx builds the guide: `make docs`."""

from importlib.metadata import version as version_of

project = "veritas-peewee"
author = "The veritas-peewee maintainers"
release = version = version_of("veritas-peewee")
extensions = ["myst_parser"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_title = "veritas-peewee"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
nitpicky = True
myst_heading_anchors = 3
