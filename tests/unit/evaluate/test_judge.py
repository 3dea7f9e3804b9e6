"""Judging with scripted judges: right verdicts in every order and form, nothing asked or paid twice."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.errors import UserError
from packtrain.evaluate.judge import Verdict, judge
from packtrain.evaluate.judging.log import JudgeLog
from packtrain.evaluate.judging.wording import Form
from packtrain.models.scripted import Scripted

COUNT = 23
PAIRS = [
    {
        "instruction": f"Count to {number}.",
        "input": f"from {number - 1}" if number % 4 == 0 else "",
        "reference": "x" * 10,
        "answer": "x" * (8 + number % 5),
    }
    for number in range(COUNT)
]
IDS = [f"eval/{number}" for number in range(COUNT)]
LONGER = [0.5 if len(pair["answer"]) == 10 else float(len(pair["answer"]) > 10) for pair in PAIRS]
"""What a judge that prefers the longer output says; every fifth pair is equal."""


def outputs(prompt: str) -> list[tuple[str, str]]:
    """The pairs of outputs that a prompt of our own wordings shows."""
    if "model_1" in prompt:
        first, second = re.findall(r'^Answer of model_[12]:\n"""(.*?)"""$', prompt, re.MULTILINE | re.DOTALL)
        return [(first, second)]
    return re.findall(r"^### Output \(a\)\n(.*?)\n\n### Output \(b\)\n(.*?)\n\n#", prompt, re.MULTILINE | re.DOTALL)


def written(firsts: list[bool], prompt: str) -> str:
    """An answer in the form that the prompt asks for: whether the first output wins, for each pair."""
    if "model_1" in prompt:
        ranks = (1, 2) if firsts[0] else (2, 1)
        return f"[{{'model': 'model_1', 'rank': {ranks[0]}}}, {{'model': 'model_2', 'rank': {ranks[1]}}}]"
    return "\n".join("Output (a)" if first else "Output (b)" for first in firsts)


class Judge:
    """A scripted judge that keeps the prompts it was asked."""

    def __init__(self, prefers_first: Callable[[str, str], bool] = lambda first, second: len(first) > len(second)):
        self.prompts: list[str] = []
        self.prefers_first = prefers_first
        self.model = Scripted("scripted:longer", self.answer)

    def answer(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return written([self.prefers_first(*pair) for pair in outputs(prompt)], prompt)


def preferences(verdicts: list[Verdict]) -> list[float | None]:
    assert [verdict.id for verdict in verdicts] == IDS
    return [verdict.preference for verdict in verdicts]


@pytest.mark.parametrize("form", ["pair", "batch"])
@pytest.mark.parametrize("both_orders", [False, True])
def test_a_judge_that_looks_at_the_outputs_is_understood_in_every_order(
    tmp_path: Path, form: Form, both_orders: bool
) -> None:
    scripted = Judge()
    verdicts = judge(PAIRS, IDS, scripted.model, tmp_path / "a.jsonl", form=form, both_orders=both_orders)
    assert preferences(verdicts) == LONGER
    orders = {verdict.order for verdict in verdicts}
    assert orders == ({"both", "equal"} if both_orders else {"answer first", "reference first", "equal"})
    assert {verdict.id for verdict in verdicts if verdict.order == "equal"} == {IDS[n] for n in range(2, COUNT, 5)}
    differing, with_input = 18, 5  # of 23: 5 equal; numbers divisible by 4 and not 2 modulo 5: 0 4 8 16 20
    prompts = differing if form == "pair" else -(-(differing - with_input) // 5) + -(-with_input // 5)
    assert len(scripted.prompts) == prompts * (1 + both_orders)


@pytest.mark.parametrize("form", ["pair", "batch"])
def test_a_judge_that_looks_at_the_place_alone_makes_ties_in_both_orders(tmp_path: Path, form: Form) -> None:
    always_first = Judge(lambda first, second: True)
    both = judge(PAIRS, IDS, always_first.model, tmp_path / "both.jsonl", form=form, both_orders=True)
    assert preferences(both) == [0.5] * COUNT
    one = judge(PAIRS, IDS, always_first.model, tmp_path / "one.jsonl", form=form)
    expected = {"answer first": 1.0, "reference first": 0.0, "equal": 0.5}
    assert preferences(one) == [expected[verdict.order] for verdict in one]
    assert {verdict.order for verdict in one} == set(expected)


def test_the_order_follows_from_seed_and_identity_alone(tmp_path: Path) -> None:
    def orders(name: str, numbers: list[int], seed: int = 0) -> dict[str, str]:
        chosen, ids = [PAIRS[number] for number in numbers], [IDS[number] for number in numbers]
        verdicts = judge(chosen, ids, Judge().model, tmp_path / name, seed=seed)
        return {verdict.id: verdict.order for verdict in verdicts}

    whole = orders("a", list(range(COUNT)))
    assert orders("b", list(reversed(range(COUNT)))) == whole
    assert orders("c", [7, 3]) == {IDS[7]: whole[IDS[7]], IDS[3]: whole[IDS[3]]}
    assert orders("d", list(range(COUNT)), seed=1) != whole


def test_a_prompt_of_the_batch_form_and_its_record(tmp_path: Path) -> None:
    pairs = [{"instruction": "Say {input}.", "input": "", "reference": "hello", "answer": "{output_1}"}]
    scripted = Judge()
    (verdict,) = judge(pairs, ["one"], scripted.model, tmp_path / "a.jsonl", form="batch")
    (prompt,) = scripted.prompts
    shown = outputs(prompt)
    assert len(shown) == 5
    first = ("{output_1}", "hello") if verdict.order == "answer first" else ("hello", "{output_1}")
    assert shown == [first] + [("4", "5")] * 4
    assert prompt.count("Say {input}.") == 1
    assert "<|im_" not in prompt
    assert verdict.preference == 1.0
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record.pop("key")
    assert record == {
        "judge": "scripted:longer",
        "ids": ["one"],
        "answer_first": [verdict.order == "answer first"],
        "text": verdict.texts[0],
        "finish_reason": "stop",
        "prompt_tokens": len(prompt.split()),
        "completion_tokens": 10,
    }


def test_a_batch_with_another_count_is_unread_and_so_is_what_is_no_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    four = Scripted("four", lambda prompt: "Output (a)\n" * 4)
    batch = judge(PAIRS, IDS, four, tmp_path / "batch.jsonl", form="batch")
    assert {verdict.preference for verdict in batch} == {None, 0.5}
    assert {verdict.unread for verdict in batch} == {"4 verdicts on 5 comparisons", ""}
    assert "18 of 23 verdicts could not be read and do not count (4 verdicts on 5 comparisons: 18)" in (
        capsys.readouterr().err
    )
    refuses = Scripted("refuses", lambda prompt: "I would rather not.")
    single = judge(PAIRS[:2], IDS[:2], refuses, tmp_path / "pair.jsonl", form="pair")
    assert [(verdict.preference, verdict.unread) for verdict in single] == [
        (None, "not a ranking of model_1 and model_2")
    ] * 2
    assert sum(verdict.order == "equal" for verdict in batch) == 5


def test_one_unread_order_of_two_leaves_no_verdict(tmp_path: Path) -> None:
    def answer(prompt: str) -> str:
        (shown,) = outputs(prompt)
        return "?" if shown[0] == PAIRS[0]["answer"] else written([True], prompt)

    (verdict,) = judge(PAIRS[:1], IDS[:1], Scripted("half", answer), tmp_path / "a.jsonl", both_orders=True)
    assert (verdict.preference, verdict.order, len(verdict.texts)) == (None, "both", 2)


def test_a_prompt_over_the_judge_s_context_is_unread_costs_nothing_and_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Short(Scripted):
        """Refuses the first prompt, as an endpoint does, and leaves out the beginning of the second, as here."""

        def generate_each(self, prompts: Any, sampling: Any, seeds: Any = ()) -> Any:
            assert sampling.too_long == "cut"
            for index, completion in super().generate_each(prompts, sampling, seeds):
                changed: dict[int, dict[str, Any]] = {0: {"text": "", "too_long": True}, 1: {"cut_tokens": 3}}
                yield index, replace(completion, **changed.get(index, {}))

    out, first = tmp_path / "a.jsonl", Judge()
    prices: dict[str, Any] = {"price_in": 1, "price_out": 1}
    verdicts = judge(PAIRS, IDS, Short("scripted:longer", first.answer), out, **prices)
    reason = "the prompt is longer than the judge's context"
    assert f"2 of 23 verdicts could not be read and do not count ({reason}: 2)" in capsys.readouterr().err
    records = [json.loads(line) for line in out.read_text().splitlines()]
    kept = [(record["text"], record["finish_reason"], record["prompt_tokens"]) for record in records[:2]]
    assert kept == [("", "too long", 0)] * 2
    lost = [one for record in records[:2] for one in record["ids"]]
    assert {verdict.id: verdict.unread for verdict in verdicts if verdict.unread} == dict.fromkeys(lost, reason)
    given = zip(IDS, LONGER, strict=True)
    assert preferences(verdicts) == [None if one in lost else value for one, value in given]
    longer_context = Judge()
    assert preferences(judge(PAIRS, IDS, longer_context.model, out, **prices)) == LONGER
    assert longer_context.prompts == first.prompts[:2]


def test_what_is_answered_is_not_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    first = Judge()
    verdicts = judge(PAIRS, IDS, first.model, out)
    again = Judge()
    assert judge(PAIRS, IDS, again.model, out) == verdicts
    assert again.prompts == []
    assert "18 of 18 answers are there already" in capsys.readouterr().err
    both = judge(PAIRS, IDS, again.model, out, both_orders=True)
    assert (len(again.prompts), preferences(both)) == (18, LONGER)
    other = Judge()
    other.model.name = "scripted:other"
    judge(PAIRS, IDS, other.model, out)
    assert len(other.prompts) == 18
    limited = Judge()
    judge(PAIRS, IDS, limited.model, out, max_new_tokens=50)
    assert len(limited.prompts) == 18


def test_broken_lines_are_asked_again_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    judge(PAIRS, IDS, Judge().model, out)
    lines = out.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace('"text": "', '"text": 7, "other": "')
    lines[5] = "[" * 100_000 + "\n"
    lines[6] = '{"key": 1}\n'
    out.write_text("".join(lines)[:-20])
    again = Judge()
    assert preferences(judge(PAIRS, IDS, again.model, out)) == LONGER
    assert len(again.prompts) == 4
    assert "4 lines" in capsys.readouterr().err
    assert preferences(judge(PAIRS, IDS, again.model, out)) == LONGER
    assert len(again.prompts) == 4


def test_after_a_torn_line_the_file_becomes_what_it_would_have_been(tmp_path: Path) -> None:
    whole, torn, bare = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl", tmp_path / "bare.jsonl"
    judge(PAIRS, IDS, Judge().model, whole)
    content = whole.read_bytes()
    lines = content.splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:7]) + lines[7][:-9])
    judge(PAIRS, IDS, Judge().model, torn)
    assert torn.read_bytes() == content
    bare.write_bytes(b"".join(lines[:8]).rstrip(b"\n"))
    again = Judge()
    judge(PAIRS, IDS, again.model, bare)
    assert bare.read_bytes() == content
    assert len(again.prompts) == len(lines) - 8


KILLED = """
import os, signal, sys
from pathlib import Path
from packtrain.evaluate.judge import judge
from packtrain.models.scripted import Scripted

asked = 0
def answer(prompt):
    global asked
    asked += 1
    if asked == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"

pairs = [dict(instruction=str(n), input="", reference="a", answer="b") for n in range(6)]
judge(pairs, [str(n) for n in range(6)], Scripted("first", answer), Path(sys.argv[1]))
"""


def test_what_was_answered_before_kill_9_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert len(out.read_text().splitlines()) == 3
    pairs = [{"instruction": str(n), "input": "", "reference": "a", "answer": "b"} for n in range(6)]
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"

    verdicts = judge(pairs, [str(n) for n in range(6)], Scripted("first", answer), out)
    assert len(asked) == 3
    assert [verdict.preference for verdict in verdicts] == [float(v.order == "answer first") for v in verdicts]


def test_two_runs_never_share_a_file(tmp_path: Path) -> None:
    with JudgeLog(tmp_path / "a.jsonl"), pytest.raises(UserError, match="in use by another run"):
        judge(PAIRS, IDS, Judge().model, tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="cannot write"):
        judge(PAIRS, IDS, Judge().model, tmp_path)


def test_what_another_log_answers_is_neither_asked_nor_paid_again(tmp_path: Path) -> None:
    first, second = Judge(), Judge()
    judge(PAIRS, IDS, first.model, tmp_path / "a.jsonl")
    pairs = [{**PAIRS[0], "answer": "x" * 99}, *PAIRS[1:]]
    settings: dict[str, Any] = {"earlier": tmp_path / "a.jsonl", "price_in": 1, "price_out": 1, "budget_usd": 1.0}
    verdicts = judge(pairs, IDS, second.model, tmp_path / "b.jsonl", **settings)
    assert preferences(verdicts) == [1.0, *LONGER[1:]]
    assert len(second.prompts) == 1
    taken, before = (set((tmp_path / name).read_text().splitlines()) for name in ("b.jsonl", "a.jsonl"))
    assert len(taken) == len(before)
    assert len(taken - before) == 1
    judge(PAIRS, IDS, Judge().model, tmp_path / "c.jsonl", earlier=tmp_path / "none.jsonl")
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == len(before)


def test_a_budget_that_the_estimate_exceeds_refuses_before_anything_is_asked(tmp_path: Path) -> None:
    scripted = Judge()
    with pytest.raises(UserError, match=r"judging may cost \$\d+\.\d\d; the budget is \$0\.01, and nothing was asked"):
        judge(PAIRS, IDS, scripted.model, tmp_path / "a.jsonl", price_in=30, price_out=60, budget_usd=0.01)
    assert scripted.prompts == []
    with pytest.raises(UserError, match="a budget needs a price"):
        judge(PAIRS, IDS, scripted.model, tmp_path / "a.jsonl", budget_usd=1)


def test_a_budget_is_never_crossed_and_what_was_paid_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Dear(Scripted):
        """Bills ten times what the rule of thumb says, as for text that cuts badly into tokens."""

        def generate_each(self, prompts: Any, sampling: Any, seeds: Any = ()) -> Any:
            for index, completion in super().generate_each(prompts, sampling, seeds):
                yield index, type(completion)(completion.text, "stop", len(prompts[index].encode()), 100)

    out, scripted, budget = tmp_path / "a.jsonl", Judge(), 0.06
    dear = Dear("scripted:dear", scripted.answer)
    settings: dict[str, Any] = {"price_in": 10, "price_out": 1, "budget_usd": budget}
    with pytest.raises(
        UserError, match=r"the budget of \$0\.06 is used up: \$0\.0\d are paid, \d+ prompts are left"
    ) as caught:
        judge(PAIRS, IDS, dear, out, **settings)
    assert "--resume" in caught.value.hint
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    paid = sum(10 * answer["prompt_tokens"] + answer["completion_tokens"] for answer in answers) / 1e6
    assert 0 < len(answers) < 18
    assert budget - 0.02 < paid <= budget
    before = len(scripted.prompts)
    with pytest.raises(UserError, match="the budget is"):  # a second run has no budget of its own
        judge(PAIRS, IDS, dear, out, **settings)
    assert len(scripted.prompts) == before
    assert preferences(judge(PAIRS, IDS, dear, out, **{**settings, "budget_usd": 1.0})) == LONGER
    assert len(scripted.prompts) == 18
    assert "judging with scripted:dear: 18 prompts, about " in capsys.readouterr().err


def test_an_unknown_form_and_pairs_that_are_no_pairs(tmp_path: Path) -> None:
    unknown: Any = "triple"
    with pytest.raises(UserError, match="unknown form of judging: triple"):
        judge(PAIRS, IDS, Judge().model, tmp_path / "a.jsonl", form=unknown)
    with pytest.raises(ValueError, match="one identity"):
        judge(PAIRS[:2], ["a", "a"], Judge().model, tmp_path / "a.jsonl")
    with pytest.raises(ValueError):
        judge(PAIRS[:2], ["a"], Judge().model, tmp_path / "a.jsonl")


def test_no_pairs_and_equal_pairs_cost_nothing(tmp_path: Path) -> None:
    scripted = Judge()
    assert judge([], [], scripted.model, tmp_path / "a.jsonl") == []
    (verdict,) = judge([{**PAIRS[0], "answer": PAIRS[0]["reference"]}], ["one"], scripted.model, tmp_path / "a.jsonl")
    assert verdict == Verdict("one", 0.5, "equal")
    assert scripted.prompts == []


def test_a_judge_with_a_format_of_its_own_sees_every_prompt_in_it(tmp_path: Path) -> None:
    scripted = Judge()
    verdicts = judge(
        PAIRS, IDS, scripted.model, tmp_path / "a.jsonl", render=lambda prompt: f"<user>{prompt}<assistant>"
    )
    assert preferences(verdicts) == LONGER
    assert all(prompt.startswith("<user>") and prompt.endswith("<assistant>") for prompt in scripted.prompts)


def test_a_judge_is_shown_what_can_be_written(tmp_path: Path) -> None:
    """An answer made elsewhere may hold half a character, which no request and no tokenizer takes."""
    scripted = Judge()
    pair = {"instruction": "Say.", "input": "", "reference": "b", "answer": "a longer one \ud83d"}
    [verdict] = judge([pair], ["1"], scripted.model, tmp_path / "a.jsonl")
    assert verdict.preference == 1.0
    assert "a longer one ?" in scripted.prompts[0]


def test_what_came_before_a_failure_of_the_judge_is_kept(tmp_path: Path) -> None:
    class Failing(Scripted):
        def generate_each(self, prompts: Any, sampling: Any, seeds: Any = ()) -> Any:
            for index, completion in super().generate_each(prompts, sampling, seeds):
                if index == 7:
                    raise UserError("HTTP 429", "later")
                yield index, completion

    scripted = Judge()
    with pytest.raises(UserError, match="HTTP 429"):
        judge(PAIRS, IDS, Failing("scripted:longer", scripted.answer), tmp_path / "a.jsonl")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 7
    rest = Judge()
    assert preferences(judge(PAIRS, IDS, rest.model, tmp_path / "a.jsonl")) == LONGER
    assert len(rest.prompts) == 18 - 7
