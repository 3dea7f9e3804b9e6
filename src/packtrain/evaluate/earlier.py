"""Answers of a finished evaluation, under the keys by which another one finds what it would ask again."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest
from packtrain.core.progress import say
from packtrain.core.score import read_scores
from packtrain.evaluate.answers import Given, given_of, question_digest, sample_key

QUESTIONS, ANSWERS, SCORES = "questions.jsonl.zst", "answers.jsonl", "scores.json"


def asked_in(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of an evaluation's `questions.jsonl.zst`: `column`, `item`, `group`, and all that was asked."""
    with open(folder / QUESTIONS, "rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            yield json.loads(line)


def earlier_answers(folder: Path) -> dict[str, Given]:
    """The answers in a folder by key; none where it holds no finished evaluation of a model.

    Nor are there any in a damaged one, which is said.
    """
    try:
        manifest = read_manifest(folder)
        identity = manifest.settings.get("model_identity") if manifest else None
        if identity is None:
            return {}
        protocols = {score.column: (score.profile, score.version) for score in read_scores(folder / SCORES)}
        about = {}
        for record in asked_in(folder):
            column, item = record["column"], record["item"]
            asked = {name: value for name, value in record.items() if name not in ("column", "item", "group")}
            about[column, item] = question_digest(identity, column, *protocols[column], item, asked)
        found = {}
        for _, record in read_json_lines(folder / ANSWERS):
            column, item, sample = record.pop("column"), record.pop("item"), record.pop("sample")
            found[sample_key(about[column, item], sample)] = given_of(record)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, zstandard.ZstdError) as error:
        say(f"note: the answers in {folder} cannot be used again ({type(error).__name__}: {error})")
        return {}
    return found
