"""What is known of a data set, gathered for its card from the file, the records beside it, and reports on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packtrain.card.claims import licence_of
from packtrain.core.data_record import DataSet, beside, data_sets, run_beside
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, sha256_of_file

MIXTURE = "mixture.json"


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One source of a data set."""

    name: str
    conversations: int
    """In the file."""
    format: str = ""
    licenses: tuple[str, ...] = ()
    """All that are recorded of it or named by its conversations, in whatever words, and that of a known data set.
    "" among them: some conversations name none. Empty when nobody said."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Raw file -> SHA-256."""
    models: tuple[str, ...] = ()
    """That wrote its conversations, by their provenance."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """`read`, `not_drawn`, `repeated`, `held_out`, where they were recorded."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> records."""
    mended: Mapping[str, int] = field(default_factory=dict)
    """Cleaning rule -> records."""


@dataclass(frozen=True)
class DataFacts:
    """All that a data card tells."""

    file: str
    """Name of the file, without its folder."""
    sha256: str
    conversations: int
    sources: tuple[SourceFacts, ...]
    title: str = ""
    seed: int | None = None
    """Of what was drawn."""
    duplicates: str = ""
    """What became of them: the recipe's `data.duplicates`."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Settings and figures of the run that generated the data; empty when none did."""
    date: str | None = None
    """When it was made."""

    @property
    def models(self) -> list[str]:
        """The language models that wrote conversations, each once."""
        return list(dict.fromkeys(model for source in self.sources for model in source.models))


def data_facts(path: Path) -> DataFacts:
    """What the conversation file says of itself, with the `mixture.json` and `run.json` beside it where there are some.

    A record that is about another file, by its SHA-256, is left aside. UserError for a file that holds no
    conversations, naming the line that is none.
    """
    sets = data_sets(path)
    if not sets:
        raise UserError(f"{path}: no conversations in it", "`packtrain data prepare` makes conversation files")
    sha256 = sha256_of_file(path)
    run, mixture = run_beside(path, sha256), _mixture_beside(path, sha256)
    recorded: Mapping[str, Any] = mixture.get("sources") or (_prepared(run) if run else {})
    sources = [_source(name, found, recorded.get(name, {})) for name, found in sets.items()]
    generated = run is not None and run.stage == "generate"
    made_by = mixture.get("settings") or (run.settings.get("data", {}) if run else {})
    return DataFacts(
        file=path.name,
        sha256=sha256,
        conversations=sum(found.conversations for found in sets.values()),
        sources=tuple(sources),
        title=str(mixture.get("title", "")),
        seed=mixture.get("seed", run.seed if run else None),
        duplicates=made_by.get("duplicates", ""),
        generation={**run.settings, **run.figures} if run and generated else {},
        date=run.finished[:10] if run else None,
    )


def read_report(path: Path, key: str, made_by: str) -> dict[str, Any]:
    """The JSON report in a file; UserError unless it is an object with `key`, as the command `made_by` prints it."""
    hint = f"make it with: packtrain {made_by} FILE --json > {path.name}"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint) from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})", hint) from error
    if not isinstance(report, dict) or key not in report:
        raise UserError(f"{path} is no report of packtrain {made_by}", hint)
    return report


def _mixture_beside(path: Path, sha256: str) -> dict[str, Any]:
    for place in beside(path, MIXTURE):
        if place.is_file():
            mixture = read_report(place, "sources", "data mix")
            return mixture if mixture.get("sha256") == sha256 else {}
    return {}


def _prepared(run: Manifest) -> dict[str, Any]:
    """The sources of a preparation, in the form of `mixture.json`."""
    settings = run.settings.get("data", {}).get("sources", {})
    figures = run.figures.get("sources", {})
    return {
        name: {**settings.get(name, {}), **counts, "files": run.inputs.get(name, {})}
        for name, counts in (figures.items() if isinstance(figures, Mapping) else ())
    }


def _source(name: str, found: DataSet, recorded: Mapping[str, Any]) -> SourceFacts:
    return SourceFacts(
        name=name,
        conversations=found.conversations,
        format=recorded.get("format", ""),
        licenses=_licences(name, recorded, found.licenses),
        files=recorded.get("files", {}),
        models=found.models,
        counts={key: recorded[key] for key in ("read", "not_drawn", "repeated", "held_out") if key in recorded},
        dropped=recorded.get("dropped", {}),
        mended=recorded.get("mended", {}),
    )


def _licences(name: str, recorded: Mapping[str, Any], named: Sequence[str]) -> tuple[str, ...]:
    """The licence that was recorded of the whole, else the known data set's, and all that conversations name."""
    whole = licence_of(name, recorded.get("format", ""), recorded.get("license", ""))
    return tuple(dict.fromkeys([whole, *filter(None, named)] if whole else named))
