"""The file of a figure: refused before anything is computed for it, or written whole, the same bytes every time.

Figures are matplotlib's, of the extra `plot`; it is imported when one is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.errors import UserError
from packtrain.core.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
"""Kinds of file that a figure can be; `.pdf` may be allowed beside them."""

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
    "svg.hashsalt": "packtrain",
    "text.parse_math": False,
}
"""A font that matplotlib brings, text that stays text in a PDF, the same ids in every SVG, and dollar signs as such."""
_UNDATED = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None},
}


def check_figure_file(
    path: Path, overwrite: bool, *, formats: Sequence[str] = FORMATS, option: str = "--out", otherwise: str = ""
) -> None:
    """Raise UserError when no figure can be written to `path`: its name, what is there, or matplotlib, which is not.

    `option` is the one that names the file, `otherwise` what can be done without matplotlib.
    """
    if path.suffix.lower() not in formats:
        raise UserError(f"cannot tell what to draw for {path}", f"its name ends in {' or '.join(formats)}")
    check_output_file(path, overwrite, option)
    need("plot", "figures", otherwise)


def write_figure_file(
    path: Path, draw: Callable[[], "Figure"], *, dots_per_inch: int, settings: Mapping[str, Any] | None = None
) -> None:
    """Draw a figure and write it whole to `path`, as its suffix says; no display is needed.

    `settings` are matplotlib's, in force while it is drawn; no date and no version are in the file.
    """
    from matplotlib import rc_context

    suffix = path.suffix.lower()
    with rc_context({**_SETTINGS, **(settings or {})}), atomic_file(path, "wb") as file:
        draw().savefig(file, format=suffix[1:], dpi=dots_per_inch, metadata=_UNDATED[suffix])
