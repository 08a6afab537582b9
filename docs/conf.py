"""Configuration of the documentation; see https://www.sphinx-doc.org."""

from importlib.metadata import version as installed_version

# sphinx-gallery looks up what the examples import, also where it does not run them.
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sphinx_gallery.sorting import ExplicitOrder

project = "skae"
author = "skae developers"
copyright = "2026, skae developers"
release = version = installed_version("skae")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
# intersphinx is left out on purpose: the build needs no network. So names of other
# packages, and scikit-learn's own methods, have nothing to link to; all else must have.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(numpy|skl2onnx|sklearn|skorch|torch)\..*"),
    ("py:meth", "set_output"),
]

templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"
toc_object_entries_show_parents = "hide"
pygments_style = "sphinx"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections name the types
numpydoc_show_class_members = False  # the autosummary template lists them

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    # First those that follow pages of scikit-learn's gallery.
    "within_subsection_order": ExplicitOrder(
        [
            "plot_replace_pca.py",
            "plot_iris.py",
            "plot_digits_pipeline.py",
            "plot_denoising.py",
            "plot_model_selection.py",
            "plot_anomalies.py",
            "plot_no_gain.py",
            "plot_ordered.py",
            "*",
        ]
    ),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skae"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_sidebars = {"index": []}
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    # The gallery is left out: its code has the width for itself.
    "secondary_sidebar_items": {
        "*": ["page-toc"],
        "generated/*": ["page-toc"],
        "user_guide/*": ["page-toc"],
    },
}
