"""Files that show a diversity report, by the ending of their name: a figure, or a page to look around in."""

from pathlib import Path

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.errors import UserError
from packtrain.core.figure_file import FORMATS
from packtrain.data.diversity.count import DiversityReport
from packtrain.data.diversity.page import page
from packtrain.data.diversity.plot import check_figure, write_figure

_PAGE = ".html"


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Raise UserError when nothing can be drawn to `path`: before anything is counted."""
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        check_figure(path, overwrite)
    elif suffix != _PAGE:
        raise UserError(f"cannot tell what to draw for {path}", f"its name ends in {', '.join(FORMATS)} or {_PAGE}")
    else:
        check_output_file(path, overwrite)


def write_output(
    report: DiversityReport, path: Path, name: str, *, verbs: int = 20, objects: int = 4, overwrite: bool = False
) -> None:
    """Write the figure or page whole to `path`; `name` is what was counted, for its title.

    UserError as `check_output` has it, and when no instruction has a verb with an object.
    """
    check_output(path, overwrite=overwrite)
    if not report.verbs:
        raise UserError(
            "there is nothing to draw: no instruction has a verb with a direct object",
            "only English instructions can be parsed; without --out the counts are printed",
        )
    if path.suffix.lower() == _PAGE:
        with atomic_file(path) as file:
            file.write(page(report, name, verbs=verbs, objects=objects))
    else:
        write_figure(report, path, name, verbs=verbs, objects=objects, overwrite=overwrite)
