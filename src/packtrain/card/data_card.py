"""The data card: a datasheet of a conversation file, with front matter for the Hub.

Origin and process come from `mixture.json` and `run.json` beside the file, figures and faults from the reports of
`packtrain data stats`, `lint` and `diversity`. What nobody recorded is said to be unknown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.card import known
from packtrain.card.claims import Claim, recorded_claims, terms_on_data
from packtrain.card.data_facts import DataFacts
from packtrain.card.data_tables import (
    counts_table,
    diversity_table,
    dropped_table,
    faults_table,
    origin_table,
    process_table,
)
from packtrain.card.front_matter import licence_fields
from packtrain.card.licence_terms import terms
from packtrain.card.licences import applying, judge, statements
from packtrain.card.markdown import code, one_line, render
from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.errors import UserError

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Size categories of the Hub: fewer than -> name."""
LARGEST = "1M<n<10M"


@dataclass(frozen=True)
class DataReports:
    """Reports on the file, as `packtrain data ... --json` prints them."""

    statistics: Mapping[str, Any]
    lint: Mapping[str, Any]
    diversity: Mapping[str, Any] | None = None
    """None where the instructions cannot be parsed."""


def write_data_card(
    facts: DataFacts,
    reports: DataReports,
    out: Path,
    *,
    title: str | None = None,
    license: str = "",
    figure: Path | None = None,
    language: str = "en",
    overwrite: bool = False,
) -> None:
    """Write the data card to `out`, atomically, the diversity figure copied beside it when it lies elsewhere.

    Raises UserError as `render_data_card` does, for a figure that is none, or when a file exists.
    """
    shown = None if figure is None else figure.name
    text = render_data_card(facts, reports, title=title, license=license, figure=shown, language=language)
    check_output_file(out, overwrite)
    if figure is not None:
        _copy_figure(figure, out.parent / figure.name, overwrite)
    with atomic_file(out) as file:
        file.write(text)


def render_data_card(
    facts: DataFacts,
    reports: DataReports,
    *,
    title: str | None = None,
    license: str = "",
    figure: str | None = None,
    language: str = "en",
) -> str:
    """The data card as Markdown with YAML front matter, in English or Chinese (`zh`).

    `license` is that of the whole; by default the one that all sources have. Raises UserError for another language, an
    unknown licence or one that allows what a source forbids, and for reports on another file.
    """
    known.check_language(language)
    verdict = judge(_claims(facts, license), of_data=True)
    own = known.read("known", language)["datasets"]
    sets = [known.dataset(source.name, source.format, language) for source in facts.sources]
    heading = title or facts.title or facts.file
    body = {
        "title": heading,
        "facts": facts,
        "reports": reports,
        "file_in_python": json.dumps(facts.file, ensure_ascii=False),
        "sources": known.enumeration([code(source.name) for source in facts.sources], language),
        "models": known.enumeration([code(model) for model in facts.models], language) if facts.models else "",
        "about": [f"`{name}`: {own[name]['about']}" for name in _names(facts) if own.get(name, {}).get("about")],
        "origin_table": origin_table(facts, language),
        "process_table": process_table(facts, language),
        "dropped_table": dropped_table(facts, language),
        **_tables(facts, reports, language),
        "figure": figure,
        "unlicensed": [one_line(claim.name) for claim in verdict.silent],
        "licences": applying(verdict, language),
        "licence_statements": statements(verdict, "data", language) if verdict.claims else [],
        "citations": known.entries(key for each in sets for key in each.get("citations", ())),
    }
    text = f"---\n{_front_matter(facts, heading, license)}\n---\n\n{render('data', language, body)}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # names in data may hold half a surrogate pair


def _names(facts: DataFacts) -> list[str]:
    return [source.name for source in facts.sources]


def _claims(facts: DataFacts, license: str) -> list[Claim]:
    claims = [Claim(license, "result")] if license else []
    covered = bool(facts.generation and license)  # what one has made with a model, one may give a licence to
    for source in facts.sources:
        claims += [] if covered else [Claim("", "data", source.name)]
        claims += recorded_claims(source.name, source.licenses)
        claims += terms_on_data(source.name, source.format, source.models)
    return claims


def _tables(facts: DataFacts, reports: DataReports, language: str) -> dict[str, str]:
    """What the reports say, as tables; UserError for reports on another file or of another form."""
    try:
        _check_reports(facts, reports)
        return {
            "counts_table": counts_table(reports.statistics, language),
            "diversity_table": diversity_table(reports.diversity, language) if reports.diversity else "",
            "faults_table": faults_table(reports.lint, language),
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"a report lacks what this version of packtrain reports ({type(error).__name__}: {error})",
            "make it again with: packtrain data stats, lint or diversity, and --json",
        ) from error


def _check_reports(facts: DataFacts, reports: DataReports) -> None:
    told = {
        "data stats": reports.statistics["total"]["conversations"],
        "data lint": reports.lint["records"],
    }
    if reports.diversity:
        told["data diversity"] = reports.diversity["instructions"] + reports.diversity["without_user_message"]
    for command, count in told.items():
        if count != facts.conversations:
            raise UserError(
                f"the report of packtrain {command} is about {count:,} conversations, {facts.file} has "
                f"{facts.conversations:,}",
                f"make it again: packtrain {command} {facts.file} --json",
            )


def _front_matter(facts: DataFacts, title: str, license: str) -> str:
    from huggingface_hub import DatasetCardData

    sets = [known.dataset(source.name, source.format) for source in facts.sources]
    data = DatasetCardData(
        language="en" if all(sets) else None,
        pretty_name=title,
        size_categories=next((name for limit, name in SIZES if facts.conversations < limit), LARGEST),
        source_datasets=[each["hub"] for each in sets if "hub" in each] or None,
        task_categories=["text-generation"],
        annotations_creators=["machine-generated"] if facts.models else None,
        tags=["packtrain", "instruction-tuning", *(["synthetic"] if facts.models else [])],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": facts.file}]}],
        **_licences(facts, license),
    )
    return str(data.to_yaml())


def _licences(facts: DataFacts, license: str) -> dict[str, Any]:
    """The licence of the whole; that of all sources where they have one; their list where they have several."""
    found = [terms(each)["id"] if each else "" for source in facts.sources for each in source.licenses or ("",)]
    stated = [license] if license else list(dict.fromkeys(found))
    if not all(stated):
        return {}
    if len(stated) == 1:
        return licence_fields(stated[0])
    return {"license": list(dict.fromkeys(terms(each)["hub"] for each in stated))}


def _copy_figure(figure: Path, target: Path, overwrite: bool) -> None:
    if not figure.is_file():
        raise UserError(f"cannot read the figure {figure}", "draw one: packtrain data diversity F.jsonl --out F.png")
    if target.resolve() == figure.resolve():
        return
    check_output_file(target, overwrite)
    with atomic_file(target, "wb") as file:
        file.write(figure.read_bytes())
