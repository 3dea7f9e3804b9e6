"""The questions of the evaluation sets, read from the files in which they are published.

A folder is laid out as evaluation expects it (`LAYOUTS`); a single file may be one of those files, a
conversation file, or JSON records with a `question`, `prompt`, `instruction` or `text`.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.conversation import parse_conversation
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.data.overlap.near_duplicates import user_text

QUESTION_FIELDS = ("question", "prompt", "instruction", "inputs", "input", "text")
"""Where a record that is nothing else may hold its text: the first that is there."""
_MMLU_OPTIONS = 4


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One question of a benchmark."""

    id: str
    texts: tuple[str, ...]
    """The question, then texts that belong to it (answers to choose from); n-grams do not span two texts."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The questions of one file or split, such as `gsm8k/test`."""

    name: str
    items: tuple[BenchmarkItem, ...]
    scored: bool = True
    """Whether models are scored on these very texts: not on `gsm8k/train`, few-shot examples, or passages."""


Reader = Callable[[Path], Iterator[BenchmarkItem]]


def _mmlu(path: Path) -> Iterator[BenchmarkItem]:
    """Question and answers to choose from of the CSV files of hendrycks/test: no header, the letter last."""
    subject = path.stem.removesuffix("_test").removesuffix("_dev").removesuffix("_val")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file, strict=True)):
                if len(row) != _MMLU_OPTIONS + 2:
                    raise UserError(
                        f"{path}: row {number + 1} has {len(row)} columns",
                        "MMLU files have a question, four answers and a letter in each row, and no header",
                    )
                yield BenchmarkItem(f"{subject}/{number}", tuple(row[: _MMLU_OPTIONS + 1]))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV file ({error})", "fetch it again: it may be damaged") from error


def _gsm8k(path: Path) -> Iterator[BenchmarkItem]:
    for number, (where, record) in enumerate(_json_records(path)):
        yield BenchmarkItem(str(number), (_text(record, "question", where),))


def _bbh(path: Path) -> Iterator[BenchmarkItem]:
    examples = _list(_field(_json(path), "examples", str(path)), f"{path}: examples")
    for number, example in enumerate(examples):
        yield BenchmarkItem(f"{path.stem}/{number}", (_text(example, "input", f"{path}: example {number + 1}"),))


def _tydiqa_paragraphs(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each paragraph of a file in SQuAD's form stands, and the paragraph."""
    for number, article in enumerate(_list(_field(_json(path), "data", str(path)), f"{path}: data"), start=1):
        where = f"{path}: article {number}"
        for paragraph in _list(_field(article, "paragraphs", where), f"{where}: paragraphs"):
            yield where, paragraph


def _tydiqa_questions(path: Path) -> Iterator[BenchmarkItem]:
    for where, paragraph in _tydiqa_paragraphs(path):
        for asked in _list(_field(paragraph, "qas", where), f"{where}: qas"):
            yield BenchmarkItem(_text(asked, "id", where), (_text(asked, "question", where),))


def _tydiqa_passages(path: Path) -> Iterator[BenchmarkItem]:
    """Each passage once, under the id of its first question."""
    seen = set()
    for where, paragraph in _tydiqa_paragraphs(path):
        passage = _text(paragraph, "context", where)
        if passage not in seen:
            seen.add(passage)
            asked = _list(_field(paragraph, "qas", where), f"{where}: qas")
            yield BenchmarkItem(_text(asked[0], "id", where) if asked else where, (passage,))


def _humaneval(path: Path) -> Iterator[BenchmarkItem]:
    for where, record in _json_records(path):
        yield BenchmarkItem(_text(record, "task_id", where), (_text(record, "prompt", where),))


def _any_records(path: Path) -> Iterator[BenchmarkItem]:
    for number, (where, record) in enumerate(_json_records(path)):
        yield BenchmarkItem(str(record.get("id", number)), (_question(record, where),))


def _question(record: dict[str, Any], where: str) -> str:
    """What a record asks: the user's messages, or an instruction with its input, or the first field there is."""
    if "messages" in record:
        conversation = parse_conversation({"dataset": "", "id": "", **record}, where)
        return "\n".join(filter(None, user_text(conversation)))
    field = next((name for name in QUESTION_FIELDS if name in record), None)
    if field is None:
        raise UserError(
            f"{where}: no text to compare with (found: {', '.join(map(str, record)) or 'nothing'})",
            f"a record needs `messages` or one of {', '.join(QUESTION_FIELDS)}",
        )
    context = record.get("input") if field == "instruction" else None
    return _text(record, field, where) + (f"\n{context}" if isinstance(context, str) and context else "")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a benchmark lies in a folder of evaluation data, and how it is read."""

    name: str
    pattern: str
    read: Reader
    scored: bool = True
    files: int = 1
    """How many files the published set has."""


LAYOUTS = (
    Layout("mmlu/test", "mmlu/test/*_test.csv", _mmlu, files=57),
    Layout("mmlu/dev", "mmlu/dev/*_dev.csv", _mmlu, scored=False, files=57),
    Layout("gsm8k/test", "gsm8k/test.jsonl", _gsm8k),
    Layout("gsm8k/train", "gsm8k/train.jsonl", _gsm8k, scored=False),
    Layout("bbh", "bbh/bbh/*.json", _bbh, files=27),
    Layout("tydiqa/dev", "tydiqa/*dev*.json", _tydiqa_questions),
    Layout("tydiqa/dev passages", "tydiqa/*dev*.json", _tydiqa_passages, scored=False),
    Layout("humaneval", "humaneval/HumanEval.jsonl*", _humaneval),
    Layout("alpaca_farm", "alpaca_farm/*.json", _any_records),
    Layout("exact_match", "exact_match.jsonl", _any_records),
)


def read_benchmarks(path: Path) -> list[Benchmark]:
    """The benchmarks in a folder laid out for evaluation, in one benchmark's folder, or in a single file.

    Raises UserError when nothing known is there, when a benchmark's folder lacks the file that models
    are scored on, and, naming file and line, for damaged files.
    """
    if not path.exists():
        raise UserError(f"no such file or folder: {path}", _looked_for())
    if path.is_file():
        return [_one_file(path)]
    found = [benchmark for layout in LAYOUTS if (benchmark := _in_folder(path, layout)) is not None]
    if not found:
        raise UserError(f"no benchmark in {path}", _looked_for())
    return found


def _looked_for() -> str:
    return "known are " + ", ".join(dict.fromkeys(layout.pattern for layout in LAYOUTS)) + "; or give a single file"


def _in_folder(folder: Path, layout: Layout) -> Benchmark | None:
    """What `folder`, or `folder` as the benchmark's own, holds of a layout; None when the benchmark is not there."""
    own, _, rest = layout.pattern.partition("/")
    paths = sorted(folder.glob(layout.pattern))
    if not paths and rest and folder.resolve().name == own:
        paths = sorted(folder.glob(rest))
        if not paths and layout.scored:
            raise UserError(
                f"{folder} holds no {rest}", "models are scored on it: put it there, or give another folder"
            )
    if not paths:
        if rest and layout.scored and (folder / own).is_dir():
            raise UserError(
                f"{folder / own} holds no {rest}", f"models are scored on it: put it there, or remove {own}/"
            )
        return None
    if len(paths) < layout.files:
        say(f"{layout.name}: {len(paths)} of the {layout.files} published files are there")
    items = tuple(item for path in paths for item in layout.read(path))
    return Benchmark(layout.name, _not_empty(items, paths[0]), layout.scored)


def _one_file(path: Path) -> Benchmark:
    """A single file, read as what it looks like."""
    read: Reader = _any_records
    if path.suffix == ".csv":
        read = _mmlu
    elif path.suffix == ".json":
        value = _json(path)
        if isinstance(value, dict):
            read = _bbh if "examples" in value else _tydiqa_questions
    return Benchmark(Path(path.name.removesuffix(".gz")).stem, _not_empty(tuple(read(path)), path))


def _not_empty(items: tuple[BenchmarkItem, ...], path: Path) -> tuple[BenchmarkItem, ...]:
    if not items:
        raise UserError(f"{path} holds no questions", "the file may be cut short: fetch it again")
    return items


def _read_text(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"cannot read {path}: {error}", "fetch it again: it may be damaged") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error})", "fetch it again: it may be cut short") from error


def _json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each record of a JSON list or of JSON lines stands, and the record; `.gz` is unpacked."""
    if path.suffix == ".json":
        values = [(f"{path}: record {number}", value) for number, value in enumerate(_list(_json(path), str(path)), 1)]
    else:
        values = []
        for number, line in enumerate(_read_text(path).split("\n"), start=1):
            if line.strip():
                try:
                    values.append((f"{path}:{number}", json.loads(line)))
                except (json.JSONDecodeError, RecursionError) as error:
                    raise UserError(
                        f"{path}:{number}: not valid JSON ({error})", "each line must be a record"
                    ) from error
    for where, value in values:
        if not isinstance(value, dict):
            raise UserError(f"{where}: expected a JSON object, found {type(value).__name__}", "fetch the file again")
        yield where, value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list, found {type(value).__name__}", "see the benchmark's published form")
    return value


def _field(record: Any, name: str, where: str) -> Any:
    if not isinstance(record, dict) or name not in record:
        raise UserError(f"{where}: no `{name}`", "see the benchmark's published form")
    return record[name]


def _text(record: Any, name: str, where: str) -> str:
    value = _field(record, name, where)
    if not isinstance(value, str):
        raise UserError(f"{where}: `{name}` is not text", "see the benchmark's published form")
    return value
