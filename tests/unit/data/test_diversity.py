"""`packtrain data diversity`: counts, figure, page, and what it says to input that it cannot use."""

import json
import re
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import pairwise
from math import pi
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.errors import UserError
from packtrain.data.diversity import plot as diversity_plot
from packtrain.data.diversity.colours import ink_on, tint, wheel
from packtrain.data.diversity.count import DiversityReport, count_diversity
from packtrain.data.diversity.lexicon_parser import LexiconParser
from packtrain.data.diversity.output import check_output, write_output
from packtrain.data.diversity.page import page
from packtrain.data.diversity.plot import rings, spread

ATTACK = "Write a song about </script><script>alert(1)</script> & <img src=x onerror=alert(2)>"


def conversation(number: int, instruction: str) -> Conversation:
    return Conversation("toy", f"toy_{number}", (Message("user", instruction), Message("assistant", "Yes.")))


def report_of(*instructions: str, examples: int = 3) -> DiversityReport:
    return count_diversity(
        (conversation(number, text) for number, text in enumerate(instructions)), LexiconParser(), examples=examples
    )


SONGS = (
    "Write a song.",
    "Write songs.",
    "Write a song.",
    "Write a letter.",
    "Draw a map.",
    "Explain why.",
    "Blue lamp",
)


def test_every_instruction_is_counted_once() -> None:
    report = report_of(*SONGS)
    assert (report.instructions, report.with_both, report.verb_only, report.without_verb) == (7, 5, 1, 1)
    assert [(verb.verb, verb.count) for verb in report.verbs] == [("write", 4), ("draw", 1)]
    write = report.verbs[0]
    assert [(each.object, each.count) for each in write.objects] == [("song", 3), ("letter", 1)]
    assert write.objects[0].examples == ("Write a song.", "Write songs.")
    assert report.pairs == 3
    assert report.top(1, 1)[0].shown == 3
    assert report.share(report.with_both) == 5 / 7


def test_ties_stand_in_the_order_of_the_alphabet() -> None:
    report = report_of("Read a map", "Draw a lamp", "Draw an apple", "Read a letter")
    assert [verb.verb for verb in report.verbs] == ["draw", "read"]
    assert [each.object for each in report.verbs[0].objects] == ["apple", "lamp"]


def test_the_first_message_of_the_user_is_the_instruction() -> None:
    first = Conversation("toy", "a", (Message("system", "Draw a lamp."), Message("user", "Write a song.", "Read it.")))
    again = Conversation("toy", "b", (Message("user", "Draw a map."), Message("user", "Write a song.")))
    without = Conversation("toy", "c", (Message("assistant", "Write a song."),))
    report = count_diversity([first, again, without], LexiconParser())
    assert [(verb.verb, verb.objects[0].object) for verb in report.verbs] == [("draw", "map"), ("write", "song")]
    assert (report.instructions, report.without_user_message) == (2, 1)
    assert report.verbs[0].objects[0].examples == ()


def test_conversations_are_streamed() -> None:
    """The parser gets an instruction before the next conversation is read."""
    read: list[int] = []

    def source() -> Iterator[Conversation]:
        for number in range(5):
            read.append(number)
            yield conversation(number, "Write a song.")

    class Watching(LexiconParser):
        def roots(self, instructions: Iterable[str]) -> Iterator[Any]:
            for place, root in enumerate(super().roots(instructions)):
                assert len(read) == place + 1
                yield root

    assert count_diversity(source(), Watching()).instructions == 5
    assert len(read) == 5


def test_examples_are_short_lines() -> None:
    [verb] = report_of("Write a song:\n\n" + "la " * 500).verbs
    [example] = verb.objects[0].examples
    assert example.startswith("Write a song: la la")
    assert len(example) <= 200
    assert example.endswith("…")


def test_the_figures_for_machines() -> None:
    figures = report_of(*SONGS).figures(1, 1)
    assert figures == {
        "parser": "lexicon",
        "instructions": 7,
        "with_verb_and_object": 5,
        "with_verb_only": 1,
        "without_verb": 1,
        "without_user_message": 0,
        "different_verbs": 2,
        "different_pairs": 3,
        "shown": 3,
        "share_shown": 3 / 7,
        "verbs": [
            {
                "verb": "write",
                "count": 4,
                "share": 4 / 7,
                "objects": [{"object": "song", "count": 3, "share": 3 / 7}],
            }
        ],
    }


def test_rings_go_round_once_without_gaps() -> None:
    report = report_of(*SONGS)
    found = list(rings(report, report.top(20, 4)))
    parts = [part for _, outer in found for part in outer]
    assert parts[0].begin == 0
    assert parts[-1].end == pytest.approx(2 * pi)
    assert all(left.end == right.begin for left, right in pairwise(parts))
    assert all((inner.begin, inner.end) == (outer[0].begin, outer[-1].end) for inner, outer in found)
    assert found[0][0].label == "write  57.1 %"


@pytest.mark.parametrize(
    "angles", [[], [1.0], [0.0, 0.0, 0.0], [1.0, 1.01, 1.02, 4.0], [6.27, 6.28, 6.281], [0.1] * 60]
)
def test_labels_are_moved_apart_and_stay_in_order(angles: list[float]) -> None:
    places = spread(angles, 0.1)
    assert len(places) == len(angles)
    assert all(right - left > 0.1 - 1e-9 for left, right in pairwise(places))
    if places:
        assert places[-1] - places[0] <= 2 * pi - 0.1 + 1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.5, 1.5, 3.0], 0.1) == pytest.approx([0.5, 1.5, 3.0])
    assert spread([1.0, 1.0], 0.1) == pytest.approx([0.95, 1.05])


def test_verbs_can_be_read_on_their_colours() -> None:
    """WCAG 2.1's contrast of 4.5, the level AA, for any number of verbs."""

    def luminance(colour: str) -> float:
        values = [value / 255 for value in bytes.fromhex(colour[1:])]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for count in (1, 2, 7, 20, 100):
        colours = wheel(count)
        assert len(set(colours)) == count
        for colour in colours:
            high, low = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5
    assert tint("#000000", 0.5) == "#808080"


def many() -> DiversityReport:
    """Eighteen verbs with six objects each, most of them rare, one with a name far too long."""
    verbs = ["write", "draw", "name", "list", "find", "make", "give", "sort", "read"]
    verbs += ["sing", "bake", "build", "choose", "compare", "compose", "count", "cut", "edit"]
    nouns = ["lamp", "map", "x" * 90, "river", "sea", "bridge"]
    texts = [
        f"{verb} the {noun}" for rank, verb in enumerate(verbs) for noun in nouns for _ in range(1 + 900 // 4**rank)
    ]
    return report_of(*texts)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_figure_is_drawn_and_the_same_again(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        write_output(many(), path, "toy $x^2$ <b>", verbs=20, objects=6)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_labels_of_the_figure_neither_overlap_nor_leave_it() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = diversity_plot.draw(many(), "toy", verbs=18, objects=6)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    inside = figure.bbox
    texts = [text for text in (*figure.axes[0].texts, *figure.texts) if text.get_text()]
    assert len(texts) > 100
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert inside.x0 <= box.x0, text.get_text()
        assert box.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= box.y0, text.get_text()
        assert box.y1 <= inside.y1, text.get_text()


def test_the_page_stands_alone_and_runs_one_script_only() -> None:
    text = page(report_of(*SONGS), "toy/<b>train</b>.jsonl")
    assert "<b>" not in text
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = b64encode(sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "prefers-color-scheme: dark" in text
    assert "innerHTML" not in text


def test_instructions_reach_the_page_as_values_only() -> None:
    text = page(report_of(ATTACK, "Draw a {{ 7 * 7 }} {% raw %}"), "toy")
    assert "<script>alert" not in text
    assert "<img" not in text
    [block] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    shown = {each for verb in json.loads(block)["verbs"] for found in verb["objects"] for each in found["examples"]}
    assert ATTACK in shown


def test_the_page_holds_more_objects_than_the_figure() -> None:
    text = page(many(), "toy", verbs=2, objects=1)
    [block] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    data = json.loads(block)
    assert [len(verb["objects"]) for verb in data["verbs"]] == [6, 6]
    assert data["objects"] == 1


def test_outputs_that_cannot_be_are_refused_before_anything_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there.html"
    there.write_text("mine", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    for name, message in (
        ("there.html", "exists already"),
        ("folder.png", "is a folder"),
        ("figure.gif", "cannot tell what to draw"),
        ("figure", "cannot tell what to draw"),
    ):
        with pytest.raises(UserError, match=message):
            check_output(tmp_path / name)
    with pytest.raises(UserError, match="is a folder"):
        check_output(tmp_path / "folder.png", overwrite=True)
    check_output(there, overwrite=True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    check_output(tmp_path / "page.html")
    with pytest.raises(UserError, match="figures: matplotlib is not installed") as caught:
        check_output(tmp_path / "figure.svg")
    assert caught.value.hint == "pip install 'packtrain[plot]', or give --out a name in .html"
    assert there.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_without_any_pair_there_is_nothing_to_draw(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        write_output(report_of("写一个故事", "Blue lamp", "Explain why."), tmp_path / f"a{suffix}", "toy")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    path = tmp_path / "songs.jsonl"
    write_conversations(path, [conversation(number, text) for number, text in enumerate((*SONGS, ATTACK))])
    return path


def test_the_command_prints_json_and_writes_every_output(songs: Path, tmp_path: Path, packtrain: Any) -> None:
    outputs = [tmp_path / "a.png", tmp_path / "a.html"]
    arguments = ["data", "diversity", songs, "--parser", "lexicon", "--json", "--top-verbs", 1]
    done = packtrain(*arguments, "--out", outputs[0], "--out", outputs[1])
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["instructions"] == 8
    assert [verb["verb"] for verb in figures["verbs"]] == ["write"]
    assert all(path.is_file() for path in outputs)

    again = packtrain(*arguments, "--out", outputs[1])
    assert again.returncode == 2
    assert again.stdout == ""
    assert again.stderr.startswith(f"error: {outputs[1]} exists already\nhint: ")


def test_the_command_prints_a_table(songs: Path, packtrain: Any) -> None:
    done = packtrain("data", "diversity", songs, "--parser", "lexicon", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert re.search(r"write\W+5\W+62\.5 %\W+song 50\.0 %, letter 12\.5 %", done.stdout)
    assert "with verb and object 6 (75.0 %)" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no instruction in it"),
        ('[{"instruction": "Write.", "input": "", "output": ""}]', "expected a JSON object, found list"),
        ('{"instruction": "Write."}\n', "missing dataset, id, messages"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_file(content: str, message: str, tmp_path: Path, packtrain: Any) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(content, encoding="utf-8")
    done = packtrain("data", "diversity", path, "--out", tmp_path / "a.html")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith(f"error: {path}")
    assert not (tmp_path / "a.html").exists()
