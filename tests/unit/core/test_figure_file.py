"""Files of figures: what is refused, and that the same figure is the same bytes."""

from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.figure_file import check_figure_file, write_figure_file


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_text("precious")
    (tmp_path / "folder.png").mkdir()
    for name, message, hint in (
        ("a.pdf", "cannot tell what to draw for .*a.pdf", "its name ends in .png or .svg"),
        ("figure", "cannot tell what to draw for .*figure", "its name ends in .png or .svg"),
        ("there.png", "exists already", "choose another --plot, or give --overwrite to replace it"),
        ("folder.png", "is a folder", "give --plot the name of a file"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            check_figure_file(tmp_path / name, False, option="--plot")
        assert caught.value.hint == hint
    check_figure_file(tmp_path / "there.png", True)
    check_figure_file(tmp_path / "a.PDF", False, formats=(".pdf",))
    assert (tmp_path / "there.png").read_text() == "precious"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".SVG"])
def test_the_same_figure_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    before = rcParams["font.size"]

    def draw() -> Figure:
        assert (rcParams["font.size"], rcParams["text.parse_math"]) == (7, False)
        figure = Figure(figsize=(1, 1))
        figure.text(0.1, 0.5, "costs $1 or $2")
        return figure

    for name in ("a", "b"):
        write_figure_file(tmp_path / f"{name}{suffix}", draw, dots_per_inch=50, settings={"font.size": 7})
    written = (tmp_path / f"a{suffix}").read_bytes()
    assert written == (tmp_path / f"b{suffix}").read_bytes()
    assert written.startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}.get(suffix, b"<?xml"))
    assert rcParams["font.size"] == before != 7


def test_what_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    def fail() -> Figure:
        raise ArithmeticError("a figure of nothing")

    with pytest.raises(ArithmeticError, match="a figure of nothing"):
        write_figure_file(tmp_path / "a.png", fail, dots_per_inch=50)
    assert list(tmp_path.iterdir()) == []
