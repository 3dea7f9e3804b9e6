"""A data card with all its reports: those that are given are read, the others are made."""

from pathlib import Path
from typing import Any

from packtrain.card.claims import Claim
from packtrain.card.data_card import DataReports, write_data_card
from packtrain.card.data_facts import data_facts, read_report
from packtrain.card.known import check_language
from packtrain.card.licences import judge
from packtrain.core.atomic import check_output_file
from packtrain.core.conversation import read_conversations

VERBS, OBJECTS = 20, 4
"""Of the diversity report, as `packtrain data diversity` shows them."""


def make_data_card(
    path: Path,
    out: Path,
    *,
    statistics: Path | None = None,
    lint: Path | None = None,
    diversity: Path | None = None,
    figure: Path | None = None,
    title: str | None = None,
    license: str = "",
    language: str = "en",
    overwrite: bool = False,
) -> None:
    """Write the data card of a conversation file to `out`; reports are the JSON files of `packtrain data ... --json`.

    Lengths are in words unless the report on statistics was made with a tokenizer. UserError for what is no
    conversation, no report, or a report on another file.
    """
    check_language(language)
    check_output_file(out, overwrite)
    if license:
        judge([Claim(license, "result")])
    facts = data_facts(path)
    reports = DataReports(
        statistics=read_report(statistics, "total", "data stats") if statistics else _statistics(path),
        lint=read_report(lint, "rules", "data lint") if lint else _lint(path),
        diversity=read_report(diversity, "verbs", "data diversity") if diversity else _diversity(path),
    )
    write_data_card(
        facts, reports, out, title=title, license=license, figure=figure, language=language, overwrite=overwrite
    )


def _statistics(path: Path) -> dict[str, Any]:
    from packtrain.data.statistics.statistics import statistics

    return statistics([path]).figures()


def _lint(path: Path) -> dict[str, Any]:
    from packtrain.data.lint import lint_file, load_lint_rules

    rules = load_lint_rules()
    report = lint_file(path, rules, examples=0)
    found = {
        rule.name: {"severity": rule.severity, "what": rule.what, "records": report.counts[rule.name]} for rule in rules
    }
    return {"records": report.records, "rules": found}


def _diversity(path: Path) -> dict[str, Any] | None:
    from packtrain.data.diversity.count import count_diversity
    from packtrain.data.diversity.parser import open_parser

    report = count_diversity(read_conversations(path), open_parser())
    return report.figures(VERBS, OBJECTS) if report.instructions else None
