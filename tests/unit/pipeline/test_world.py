"""The demo's world: splits apart by content, one right answer per task, and a base text without instructions."""

import re
import string
from collections import Counter
from itertools import islice

import pytest

from packtrain.pipeline import world, world_text
from packtrain.pipeline.world import CAPITALS, COLOURS, FLAGS, KINDS, PHRASINGS, REGIONS, WORDS, Task, tasks

SPLITS: tuple[world.Split, ...] = ("seen", "unseen")
TEXT = "\n\n".join(world_text.pretraining_lines(4))
IRREGULAR = "elves feet geese knives leaves mice teeth wolves"


def _whole(task: Task) -> str:
    return f"{task.instruction} {task.input} {task.output}"


def _content(task: Task) -> frozenset[str]:
    """Return what a task is about, found from its text alone; sums and their differences are one family."""
    asked = f"{task.instruction} {task.input}"
    numbers = re.findall(r"\d+", _whole(task))
    if task.kind in ("sum", "difference"):
        return frozenset((*sorted(numbers, key=int), "family"))
    if task.kind == "sort_numbers":
        return frozenset(numbers)
    if task.kind == "sort_letters":
        return frozenset(re.findall(r"\b[a-z]\b", asked))
    if task.kind in ("capital", "colour"):
        (region,) = {name for name in REGIONS if re.search(rf"\b{name}\b", asked)}
        return frozenset((region, task.kind))
    (word,) = {word for word in re.findall(r"\b[a-z]+\b", asked) if word in set(WORDS)}
    return frozenset((word, task.kind))


def test_no_content_of_an_unseen_task_occurs_in_a_seen_task_of_its_kind() -> None:
    seen, unseen = tasks("seen"), tasks("unseen")
    assert all(_content(task) for task in seen + unseen)
    assert {_content(task) for task in seen}.isdisjoint(_content(task) for task in unseen)


def test_each_unseen_task_of_a_kind_has_content_of_its_own() -> None:
    contents = Counter((task.kind, _content(task)) for task in tasks("unseen"))
    assert set(contents.values()) == {1}


def test_splits_have_every_kind_and_their_sizes() -> None:
    assert Counter(task.kind for task in tasks("unseen")) == dict.fromkeys(KINDS, 25)
    seen = Counter(task.kind for task in tasks("seen"))
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 200
    assert 3000 < sum(seen.values()) == len(set(tasks("seen"))) < 6000


def test_tasks_and_text_are_the_same_at_every_call() -> None:
    assert [tasks(split) for split in SPLITS] == [tasks(split) for split in SPLITS]
    assert list(world_text.pretraining_lines(1)) == list(world_text.pretraining_lines(1))
    shorter = list(world_text.pretraining_lines(1))
    assert shorter == list(islice(world_text.pretraining_lines(2), len(shorter)))


def _recomputed_plural(word: str) -> str:
    if word in world.IRREGULAR_PLURALS:
        return world.IRREGULAR_PLURALS[word]
    if re.search(r"[^aeiou]y$", word):
        return re.sub(r"y$", "ies", word)
    return word + ("es" if re.search(r"(s|x|ch|sh)$", word) else "s")


def _recomputed(task: Task) -> str:
    """Return the right answer of a task, worked out from its text."""
    asked = f"{task.instruction} {task.input}"
    numbers = [int(number) for number in re.findall(r"\d+", asked)]
    (region,) = [name for name in REGIONS if re.search(rf"\b{name}\b", asked)] or [""]
    named = [word for word in re.findall(r"\b[a-z]+\b", asked) if word in set(WORDS)]
    match task.kind:
        case "spell":
            return "-".join(named[0])
        case "backwards":
            return "-".join(named[0][::-1])
        case "letter":
            return named[0][0] if "first" in asked else named[0][-1]
        case "sort_letters":
            return "In order: " + ", ".join(sorted(re.findall(r"\b[a-z]\b", asked)))
        case "sort_numbers":
            return "In order: " + ", ".join(str(number) for number in sorted(numbers))
        case "sum":
            return str(numbers[0] + numbers[1])
        case "difference":
            return str(max(numbers) - min(numbers))
        case "capital":
            return f"It is {CAPITALS[region]}."
        case "colour":
            return f"It is {FLAGS[region]}."
        case "yes_no":
            return "Yes" if task.input.rstrip(".").split()[-1] == named[0][0] else "No"
        case "poem":
            return f"O {named[0]}, {world.EPITHET_OF[named[0]]} {named[0]}, shine on us!"
        case _:
            assert task.kind == "plural"
            return f"The plural is {_recomputed_plural(named[0])}."


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_right_and_short(split: world.Split) -> None:
    for task in tasks(split):
        assert task.output == _recomputed(task), task
        assert len(task.output) <= 50, task


def test_claims_are_right_about_as_often_as_wrong() -> None:
    for split in SPLITS:
        answers = Counter(task.output for task in tasks(split) if task.kind == "yes_no")
        assert set(answers) == {"Yes", "No"}
        assert 0.4 < answers["Yes"] / answers.total() < 0.6


def test_text_states_every_content() -> None:
    for word in WORDS:
        assert all(form in TEXT for form in ("-".join(word), "-".join(word[::-1]), world.plural(word))), word
        epithet = world.EPITHET_OF[word]
        assert re.search(rf"\b{epithet}\b[^\n]*\b{word}\b|\b{word}\b[^\n]*\b{epithet}\b", TEXT), word
    for region in REGIONS:
        assert re.search(rf"{region}[^\n]*{CAPITALS[region]}|{CAPITALS[region]}[^\n]*{region}", TEXT)
        assert re.search(rf"{region}[^\n]*{FLAGS[region]}|{FLAGS[region]}[^\n]*{region}", TEXT)


def test_text_has_no_instruction_question_or_role_marker() -> None:
    assert not set("?<|>") & set(TEXT)
    assert not re.search(r"\b(user|assistant|instruction|answer|please)\b", TEXT.lower())
    for phrasings in PHRASINGS.values():
        for instruction, _ in phrasings:
            stretches = [part.strip(string.punctuation + " ") for part in re.split(r"\{\w+\}", instruction)]
            form = r"[\w, ]+?".join(re.escape(part) for part in stretches)
            assert not re.search(rf"\b{form}", TEXT, re.IGNORECASE), instruction
            assert not any(len(part.split()) > 2 and part.lower() in TEXT.lower() for part in stretches), instruction


def test_world_has_no_two_meanings() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert len(set(CAPITALS.values())) == len(REGIONS) == len(CAPITALS)
    assert set(world.IRREGULAR_PLURALS) <= set(WORDS)
    assert set(world.IRREGULAR_PLURALS.values()) == set(IRREGULAR.split())
    assert set(WORDS).isdisjoint({*COLOURS, *world.EPITHETS, *(world.plural(word) for word in WORDS)})
