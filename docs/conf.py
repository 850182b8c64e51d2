"""Settings of the documentation."""

import re
from pathlib import Path

from sphinx.application import Sphinx

import mtlue

project = "mtlue"
author = "The mtlue developers"
copyright = "2026, the mtlue developers"  # noqa: A001  # Sphinx's own name
release = version = mtlue.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 2  # a link such as publishing.md#what-export-writes
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # the notebooks are committed with their outputs; the tests run them
nb_merge_streams = True
html_theme = "furo"
html_title = "mtlue"
html_static_path = ["_static"]
html_css_files = ["mtlue.css"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100  # a longer one has a line for each argument
autodoc_preserve_defaults = True  # 8 / 255, not its digits
# Names in annotations that cannot be looked up where the function is.
autodoc_type_aliases = {
    "Tasks": "~collections.abc.Mapping[str, ~mtlue.Task | int]",
    "Figure": "~matplotlib.figure.Figure",
    "PathArgument": "str | ~os.PathLike[str] | None",
}
templates_path = ["_templates"]
autosummary_generate = True
# Not named as the objects are: `mtlue.fit` would then be a page and a function, and a link to it ambiguous.
autosummary_filename_map = {
    f"{package.__name__}.{name}": f"{package.__name__}.{name}".replace(".", "-")
    for package in (mtlue, mtlue.baselines, mtlue.evaluation, mtlue.defenses, mtlue.analysis, mtlue.datasets)
    for name in package.__all__
}
# What a class's page shows beside the class itself; "" is all that it defines.
autosummary_context = {
    "shown_members": {
        "mtlue.ProtectedDataset": "with_transform, stored_image, export, load",
        "mtlue.History": "to_rows",
        "mtlue.Task": "",
        "mtlue.UEGenerator": "forward, perturb, on_batches, on_stream, save, load",
        "mtlue.ClassEmbeddingBank": "forward",
        "mtlue.DenseEmbedder": "forward",
        "mtlue.BaseUELoss": "__call__",
        "mtlue.Surrogate": "losses, loss, adversarial_loss, __call__",
        "mtlue.baselines.LSP": "__call__",
        "mtlue.baselines.AR": "__call__",
        "mtlue.evaluation.Report": (
            "verdict, residual_learnability, rows, hardly_learned, notes, to_markdown, to_json, from_json, to_html, plot"
        ),
        "mtlue.evaluation.Comparison": (
            "methods, rows, runs, mean_residuals, notes, to_markdown, to_latex, to_json, to_html, plot"
        ),
        "mtlue.evaluation.TaskMetrics": "update, compute",
        "mtlue.evaluation.BestConstant": "update, answer",
        "mtlue.evaluation.Weighting": "prepare, parameters, backward",
        "mtlue.defenses.Defense": "check_tasks, prepare, images, losses, after_epoch, finish",
        "mtlue.datasets.ImageFiles": "encode, decode",
        "mtlue.datasets.ExportFormat": "check, write, read",
        "mtlue.datasets.ExportSamples": "channels, classes",
        "mtlue.datasets.JointTransform": "__call__",
        "mtlue.datasets.RandomZoomFlip": "__call__",
    }
}
default_role = "any"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False  # the signature has the types
# Names in a docstring that are types of other projects.
nitpicky = False


def write_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A signature as somebody who calls it would write it."""
    if not signature:
        return signature, returns
    # Of a protocol, and of what is derived from one without an __init__.
    written = "()" if signature == "(*args, **kwargs)" else signature
    # An alias that is one of several types.
    written = re.sub(r"TypeAliasForwardRef\('(.*?)'\)", r"\1", written)
    return written.replace("<factory>", "{}").replace("_DEFAULT_EPSILON", "8 / 255"), returns


def copy_notebooks() -> None:
    """Bring the examples' notebooks to where Sphinx looks; what they say of `docs` is then beside them."""
    folder = Path(__file__).parent / "notebooks"
    folder.mkdir(exist_ok=True)
    for source in (folder.parents[1] / "examples").glob("*.ipynb"):
        copied = source.read_text().replace("(../docs/", "(../")
        target = folder / source.name
        if not target.is_file() or target.read_text() != copied:  # an unchanged page is not built anew
            target.write_text(copied)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    copy_notebooks()
    app.connect("autodoc-process-signature", write_signature)
