"""How the site is built: `make docs`. Offline: mathematics is MathML, and nothing is fetched by the pages either."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "ext"), str(DOCS.parent)]
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "domainmetric"
author = "the authors of domainmetric"
html_title = "domainmetric"
html_theme = "furo"
html_show_copyright = html_show_sourcelink = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path: list[str] = []
exclude_patterns = ["_build", "draw", "drawn", "ext", "static"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    *("docstrings", "listings", "mathml", "drawings", "outside"),  # of docs/ext
]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"undoc-members": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"
nitpicky = True  # a name of this library that leads nowhere is a warning; those of other libraries have no page here
nitpick_ignore_regex = [
    ("py:.*", r"(torch|jaxtyping|numpy|PIL|albumentations|collections|pathlib)\..*"),
    ("py:.*", r"Tensor|Float|ndarray|Path|Action"),
]
logging.getLogger("faiss.loader").setLevel(logging.WARNING)
