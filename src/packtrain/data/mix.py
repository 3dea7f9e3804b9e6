"""Mixtures: several data sets as one, with an account of what is in it."""

from pathlib import Path
from typing import Any

from packtrain.core.manifest import sha256_of_file
from packtrain.core.recipe import Mixture, Source
from packtrain.data.format import open_format
from packtrain.data.output import MIXTURE, TRAIN
from packtrain.data.prepare import Prepared, PrepareReport, prepare
from packtrain.data.recognition import with_formats


def mix(
    mixture: Mixture, out: Path, *, resume: bool = False, overwrite: bool = False, jobs: int | None = None
) -> PrepareReport:
    """Make `out`, a folder or a `.jsonl` file, of the mixture's sources, and `mixture.json` beside it.

    Plain concatenation in the order of the sources, as the mixtures of 2023: training shuffles. Every conversation
    says in its provenance from which record of which file it came. Raises UserError as `prepare`.
    """
    mixture = with_formats(mixture)
    return prepare(
        mixture,
        out,
        seed=mixture.seed,
        resume=resume,
        overwrite=overwrite,
        provenance=True,
        jobs=jobs,
        account=lambda prepared: {MIXTURE: account(mixture, prepared)},
    )


def account(mixture: Mixture, prepared: Prepared) -> dict[str, Any]:
    """What is in a mixture: counts, shares and licences by source, and the SHA-256 of all that went in and came out."""
    report = prepared.report
    total = max(1, report.train)
    sources = {}
    for name, source in mixture.sources.items():
        about, counts = open_format(source.format).about_source(name), report.sources[name]
        sources[name] = {
            "title": about.title,
            "format": source.format,
            "license": source.license or about.license,
            "files": prepared.inputs[name],
            "share": counts.train / total,
            "expected": expected_rows(name, source),
            **counts.figures(),
        }
    return {
        "name": mixture.name,
        "title": mixture.title,
        "seed": mixture.seed,
        "train": report.train,
        "held_out": report.held_out,
        "licenses": sorted({source["license"] for source in sources.values() if source["license"]}),
        "sources": sources,
        "settings": mixture.model_dump(mode="json"),
        "sha256": sha256_of_file(prepared.folder / TRAIN),
    }


def expected_rows(name: str, source: Source) -> int | None:
    """The rows that the published set has, or that were drawn from it; None when nobody said."""
    rows = open_format(source.format).about_source(name).rows
    if source.max_examples is not None:
        return source.max_examples if rows is None else min(rows, source.max_examples)
    return rows
