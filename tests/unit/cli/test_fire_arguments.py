"""Arguments are read as `fire` read them, and what does not fit a task is named."""

import pytest

from packtrain.cli.fire_arguments import Parameter, Task, Value, help_text, parse
from packtrain.core.errors import UserError

RECOVER = Task(
    "recover",
    "Recover.",
    {
        "path_raw": Parameter("the base", required=True),
        "path_diff": Parameter("the diff", required=True),
        "path_tuned": Parameter("the output"),
        "device": Parameter("cpu or cuda", default="cpu"),
        "test_inference": Parameter("try it", default=True),
        "resume": Parameter("go on", default=False, by_position=False),
    },
)
MAKE = Task("make_diff", "Make.", {"path_raw": Parameter("the base", required=True)})


def bound(*arguments: str) -> dict[str, Value]:
    task, values = parse(arguments, [MAKE, RECOVER])
    assert task is RECOVER
    return values


EXPECTED = {
    "path_raw": "A",
    "path_diff": "B",
    "path_tuned": "C",
    "device": "cpu",
    "test_inference": True,
    "resume": False,
}


@pytest.mark.parametrize(
    "line",
    [
        "recover --path_raw A --path_diff B --path_tuned C",
        "recover --path_tuned C --path_diff B --path_raw A",
        "recover --path_raw=A --path_diff=B --path_tuned=C",
        "recover --path-raw A --path-diff=B --path_tuned C",
        "recover -path_raw A -path-diff B --path_tuned C",
        "recover A B C",
        "recover A B C cpu True",
        "recover --path_diff B A C",
        "recover A --path_tuned=C B",
        "--path_raw A --path_diff B --path_tuned C recover",
        "--task recover A B C",
        "--task=recover --path_raw A B C",
        "recover A B C -d cpu",
        "recover A B C --test_inference",
        "recover A B C --test_inference True",
        "recover A B C --test_inference=true",
        "recover A B C --test_inference 1",
        "recover --path_raw X --path_raw A B C",
    ],
)
def test_one_meaning_in_every_spelling(line: str) -> None:
    assert bound(*line.split()) == EXPECTED


@pytest.mark.parametrize(
    "line",
    ["--test_inference=False", "--test_inference False", "--test-inference=0", "--notest_inference", "-t=False"],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_switch_is_turned_off_in_every_spelling(line: str, place: str) -> None:
    words = [*line.split(), "A", "B", "C"] if place == "first" else ["A", "B", "C", *line.split()]
    assert bound("recover", *words) == EXPECTED | {"test_inference": False}


def test_what_is_left_out_has_its_default() -> None:
    assert bound("recover", "A", "B") == EXPECTED | {"path_tuned": None}
    assert bound("recover", "A", "B", "--path_tuned", "None") == EXPECTED | {"path_tuned": None}
    assert bound("recover", "A", "B", "C", "--resume") == EXPECTED | {"resume": True}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no task is given"),
        ("--path_raw A", "no task is given"),
        ("recovr A B", "no such task: recovr"),
        ("recover A", "recover needs --path_diff"),
        ("recover", "recover needs --path_raw"),
        ("recover --path_raw --path_diff B", "--path_raw has no value"),
        ("recover --path_raw= --path_diff B", "--path_raw has no value"),
        ("recover A B C --path_tuned", "--path_tuned has no value"),
        ("recover A B --path_tned C", "recover has no option --path_tned=C"),
        ("recover A B --nodevice", "recover has no option --nodevice"),
        ("recover A B --notest_inference=False", "recover has no option --notest_inference=False"),
        ("recover A B -p C", "recover has no option --p=C"),
        ("recover A B C cpu True True", "one argument too many: True"),
        ("recover --test_inference A B", "--test_inference is True or False, not A"),
        ("recover A B C cpu perhaps", "--test_inference is True or False, not perhaps"),
        ("make_diff A --resume", "make_diff has no option --resume"),
    ],
)
def test_what_does_not_fit_is_named(line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(line.split(), [MAKE, RECOVER])
    assert caught.value.message == message
    assert caught.value.hint


def test_an_empty_shell_variable_is_no_value() -> None:
    with pytest.raises(UserError, match="path_raw has no value"):
        parse(["recover", "--path_raw", "", "--path_diff", "B"], [RECOVER])


def test_help_names_every_parameter_and_its_default() -> None:
    text = help_text("python weight_diff.py", [RECOVER])
    assert text.splitlines()[0] == (
        "python weight_diff.py recover --path_raw ... --path_diff ... "
        "[--path_tuned] [--device] [--test_inference] [--resume]"
    )
    for name, parameter in RECOVER.parameters.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"  --{name} ")]
        assert parameter.what in line
    assert "(default: cpu)" in text
