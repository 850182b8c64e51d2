"""Settings of the documentation."""

import mtlue

project = "mtlue"
author = "The mtlue developers"
copyright = "2026, the mtlue developers"  # noqa: A001  # Sphinx's own name
release = version = mtlue.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 2  # a link such as publishing.md#what-export-writes
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "mtlue"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
default_role = "any"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Names in a docstring that are types of other projects.
nitpicky = False
