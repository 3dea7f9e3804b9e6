"""The tables of a model card about data and training, and what the check of its diff found."""

import math
from collections.abc import Sequence
from typing import Any

from packtrain.card import known
from packtrain.card.claims import licence_of
from packtrain.card.departures import is_left_open
from packtrain.card.facts import CardFacts
from packtrain.card.licence_terms import terms
from packtrain.card.markdown import code, duration, table, thousands
from packtrain.core.recipe import Recipe

SHOWN_HASH = 16
"""Digits of a SHA-256 that a table shows."""


def data_table(recipe: Recipe, facts: CardFacts, language: str = "en") -> str:
    """One row per source: what it is, its file, how many conversations were learnt from, its licence."""
    words = known.read("words", language)["data_table"]
    rows = []
    for name, source in recipe.data.sources.items():
        count = facts.conversations.get(name)
        sha256 = facts.data_hashes.get(name, "")[:SHOWN_HASH]
        rows.append(
            (
                code(name),
                known.dataset(name, source.format, language).get("title", ""),
                _place(name, source.path, facts),
                f"`{sha256}`" if sha256 else "",
                thousands(count) if count else "",
                _licences((licence_of(name, source.format, source.license), *facts.licences.get(name, ())), language),
            )
        )
    headings = ("source", "what", "file", "sha256", "conversations", "licence")
    return table([words[each] for each in headings], rows)


def _place(name: str, path: str, facts: CardFacts) -> str:
    """A source's file, or a link to what it is on the Hub; "" where the recipe leaves it open."""
    if data := facts.data_on_hub.get(name):
        place = f"{data.repository}/tree/{data.revision}" if data.revision else data.repository
        return f"[{data.repository}](https://huggingface.co/datasets/{place})"
    file = facts.data_files.get(name)
    return (
        "" if file is None and is_left_open(f"data.sources.{name}.path", path) else f"`{file or known.last_part(path)}`"
    )


def _licences(said: Sequence[str], language: str) -> str:
    """The names of the licences, each once."""
    return ", ".join(dict.fromkeys(terms(each, language)["title"] for each in said if each))


def training_table(recipe: Recipe, facts: CardFacts, language: str = "en") -> str:
    """Hyper-parameters of the recipe, then what the run itself reported."""
    words = known.read("words", language)["training"]
    rows = [(words[name], value) for name, value in (*_settings(recipe, words), *_reported(recipe, facts, language))]
    return table((words["heading"], words["value"]), [row for row in rows if row[1]])


def _settings(recipe: Recipe, words: dict[str, Any]) -> list[tuple[str, str]]:
    """What the recipe asks for, by name of the row."""
    train = recipe.train
    rate = words["lr_value"].format(lr=train.lr, schedule=words["schedules"][train.schedule])
    warmup = words["warmup"].format(ratio=train.warmup_ratio) if train.warmup_ratio else ""
    first, second = train.adam_betas
    return [
        ("lr", rate + warmup),
        ("epochs", str(train.epochs)),
        ("max_steps", words["max_steps_value"].format(steps=thousands(train.max_steps)) if train.max_steps else ""),
        ("batch", words["batch_value"].format(batch=train.global_batch_size)),
        ("length", words["length_value"].format(tokens=thousands(train.max_length_tokens))),
        ("weights", words["all_weights"] if train.adapter == "none" else f"`{train.adapter}`"),
        ("optimizer", words["optimizer_value"].format(first=first, second=second, epsilon=train.adam_epsilon)),
        ("weight_decay", f"{train.weight_decay:g}"),
        ("clipping", words["clipping_value"].format(norm=train.clip_norm)),
        ("loss", words["averaging"][train.loss_averaging]),
    ]


def _reported(recipe: Recipe, facts: CardFacts, language: str) -> list[tuple[str, str]]:
    """What the run found out, by name of the row; "" where it did not say."""
    precision = "" if recipe.train.precision == "auto" else recipe.train.precision
    return [
        ("precision", facts.precision or precision),
        ("seed", str(recipe.seed)),
        ("parameters", thousands(facts.parameters) if facts.parameters else ""),
        ("hardware", facts.hardware or ""),
        ("steps", thousands(facts.steps) if facts.steps else ""),
        ("learnt_tokens", thousands(facts.learnt_tokens) if facts.learnt_tokens else ""),
        ("time", duration(facts.training_s, language) if facts.training_s else ""),
        ("final_loss", _decimal(facts.final_loss)),
        ("held_out_before", _decimal(facts.held_out_loss_before)),
        ("held_out_after", _decimal(facts.held_out_loss_after)),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
    ]


def diff_check(facts: CardFacts, language: str = "en") -> str:
    """What a comparison of the recovered with the trained weights found; "" when none was made."""
    words = known.read("words", language)["diff"]
    parts = []
    if facts.diff_equal_share is not None:
        parts.append(words["equal"].format(share=math.floor(facts.diff_equal_share * 1e6) / 1e4))
    if facts.diff_largest_difference is not None:
        parts.append(words["largest"].format(largest=facts.diff_largest_difference))
    return str(words["told"].format(parts=words["between"].join(parts))) if parts else ""


def _decimal(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
