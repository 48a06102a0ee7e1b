"""How the pages are built: ``python -m sphinx -W --keep-going docs docs/_build``."""

from __future__ import annotations

from charm_checkpoint import __version__

project = "charm-checkpoint"
author = "the authors of charm-checkpoint"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"charm-checkpoint {release}"
html_copy_source = False

# Links to headings, such as choose.md#options, are checked by the build.
myst_heading_anchors = 3

# Docstrings write code in single backticks; what they mention need not have a page of its own.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
