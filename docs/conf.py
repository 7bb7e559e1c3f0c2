"""Sphinx configuration. The build fetches nothing from the network."""

from __future__ import annotations

import doctest
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

os.environ.setdefault("MPLBACKEND", "Agg")
mpl.use("Agg")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import skbayesiv

project = "skbayesiv"
author = copyright = "The skbayesiv developers"
release = version = skbayesiv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "formulas",
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]
default_role = "literal"
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
doctest_test_doctest_blocks = ""  # pytest runs the examples in docstrings
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
doctest_global_setup = """
import pandas as pd
pd.set_option("display.width", 120)
"""

plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1e9,
    "download_all_examples": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "skbayesiv"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "comparison": [], "speed": []},
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "header_links_before_dropdown": 6,
}
html_sidebars = {"index": []}
html_show_sourcelink = False
html_math_renderer = "formulas"


def skip_routing(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Leave out what scikit-learn adds to every estimator for metadata routing."""
    generated = name.startswith("set_") and name.endswith("_request")
    return skip or generated or name == "get_metadata_routing"


def setup(app: Any) -> None:
    """Connect."""
    app.connect("autodoc-skip-member", skip_routing)
