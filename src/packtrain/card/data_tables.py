"""The tables of a data card: origin, process, counts and lengths, diversity, faults."""

from collections.abc import Mapping
from typing import Any

from packtrain.card import known
from packtrain.card.data_facts import DataFacts
from packtrain.card.licence_terms import terms
from packtrain.card.markdown import code, table, thousands
from packtrain.card.tables import SHOWN_HASH

VERBS, OBJECTS = 10, 4
"""Rows of the diversity table, and objects shown for each."""
_SEVERITIES = ("error", "warning", "note")


def origin_table(facts: DataFacts, language: str = "en") -> str:
    """One row per source: what it is, its files, conversations, share and licence."""
    words = known.read("words", language)
    rows = []
    for source in facts.sources:
        files = [code(known.last_part(file)) for file in source.files]
        hashes = [f"`{sha256[:SHOWN_HASH]}`" for sha256 in source.files.values()]
        rows.append(
            (
                code(source.name),
                known.dataset(source.name, source.format, language).get("title", ""),
                ", ".join(files),
                ", ".join(hashes),
                thousands(source.conversations),
                _share(source.conversations, facts.conversations),
                ", ".join(terms(each, language)["title"] for each in source.licenses if each),
            )
        )
    heading = [words["data_table"][each] for each in ("source", "what", "file", "sha256", "conversations")]
    return table([*heading, words["datasheet"]["share"], words["data_table"]["licence"]], rows)


def process_table(facts: DataFacts, language: str = "en") -> str:
    """One row per source that was prepared: how many records became how many conversations; "" without a record."""
    words = known.read("words", language)["datasheet"]
    rows = [
        (
            code(source.name),
            thousands(source.counts["read"]),
            _count(sum(source.dropped.values())),
            _count(sum(source.mended.values())),
            _count(source.counts.get("not_drawn", 0)),
            _count(source.counts.get("held_out", 0)),
            _count(source.counts.get("repeated", 0)),
            thousands(source.conversations),
        )
        for source in facts.sources
        if "read" in source.counts
    ]
    headings = ("read", "dropped", "mended", "drawn", "held_out", "repeated", "conversations")
    return table([known.read("words", language)["data_table"]["source"], *(words[each] for each in headings)], rows)


def dropped_table(facts: DataFacts, language: str = "en") -> str:
    """Why records were dropped or mended, by source; the reasons are those of the preparation's own records."""
    words = known.read("words", language)["datasheet"]
    rows = [
        (code(source.name), words[what], reason, thousands(count))
        for source in facts.sources
        for what, found in (("dropped", source.dropped), ("mended", source.mended))
        for reason, count in found.items()
    ]
    generated = facts.generation.get("dropped", {})
    rows += [("", words["dropped"], reason, thousands(count)) for reason, count in generated.items()]
    source = known.read("words", language)["data_table"]["source"]
    return table((source, "", words["reason"], words["records"]), rows)


def counts_table(statistics: Mapping[str, Any], language: str = "en") -> str:
    """Rounds and lengths of all conversations, from the report of `packtrain data stats --json`."""
    words = known.read("words", language)["datasheet"]
    total, unit = statistics["total"], words["units"][statistics["unit"]]
    rows = [
        (words["conversations"], thousands(total["conversations"])),
        (words["rounds"], f"{total['mean_rounds']:.2f}"),
        (words["size"], words["bytes"].format(bytes=thousands(total["bytes"]))),
        *(
            (words[word].format(unit=unit), _distribution(total[key], words["distribution"]))
            for word, key in (("prompt", "prompt"), ("completion", "completion"), ("length", "content_length"))
        ),
    ]
    longer = total["content_length"]["longer_than"].items()
    rows += [(words["cut"].format(limit=limit), thousands(count)) for limit, count in longer if count]
    return table((words["figure"], ""), [(name, value or "-") for name, value in rows])


def diversity_table(diversity: Mapping[str, Any], language: str = "en") -> str:
    """The most frequent root verbs with their objects, from the report of `packtrain data diversity --json`."""
    words = known.read("words", language)["datasheet"]
    rows = [
        (
            verb["verb"],
            thousands(verb["count"]),
            f"{100 * verb['share']:.1f} %",
            ", ".join(each["object"] for each in verb["objects"][:OBJECTS]),
        )
        for verb in diversity["verbs"][:VERBS]
    ]
    return table([words[each] for each in ("verb", "instructions", "share", "objects")], rows)


def faults_table(lint: Mapping[str, Any], language: str = "en") -> str:
    """The rules that found something, gravest first, from the report of `packtrain data lint --json`."""
    words = known.read("words", language)["datasheet"]
    found = [(name, rule) for name, rule in lint["rules"].items() if rule["records"]]
    found.sort(key=lambda each: (_SEVERITIES.index(each[1]["severity"]), -each[1]["records"]))
    rows = [
        (
            f"`{name}`",
            words["severities"][rule["severity"]],
            rule["what"],
            thousands(rule["records"]),
            _share(rule["records"], lint["records"]),
        )
        for name, rule in found
    ]
    return table([words[each] for each in ("rule", "severity", "what", "records", "share_of_records")], rows)


def _distribution(figures: Mapping[str, Any], form: str) -> str:
    marks = figures["percentiles"]
    if not marks:
        return ""
    return form.format(mean=figures["mean"], median=marks["50"], high=marks["95"], longest=thousands(marks["max"]))


def _count(number: int) -> str:
    return thousands(number) if number else ""


def _share(part: int, whole: int) -> str:
    """`2.5 %`; a share that would be shown as 0 or 100 and is not is shown as what it is below or above."""
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return "> 99.9 %" if 99.95 <= percent < 100 else f"{percent:.1f} %"
