"""FLAN V2's submixes, tens of gigabytes, drawn down to one file: the lines that Open-Instruct's script draws.

The rule is that of `scripts/resample_flan_v2.py` of Open-Instruct: one generator for all submixes, in their order,
draws line numbers without replacement; the lines are copied in file order. Same files, same seed, same lines. Two
passes, in which nothing is kept in memory but the numbers drawn.
"""

import math
import random
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.core.json_text import json_value
from packtrain.core.progress import progress
from packtrain.data.formats.flan_v2 import FIELDS
from packtrain.data.reading.byte_stream import PACKED_SUFFIXES, open_stream
from packtrain.data.reading.container_kind import container_kind
from packtrain.data.reading.json_container import LONGEST_RECORD_BYTES
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.records import Record

SHARES: Mapping[str, Mapping[str, float]] = {
    "flan_v2": {
        **dict.fromkeys(("flan_zsopt", "flan_fsopt", "flan_zsnoopt", "flan_fsnoopt"), 0.1),
        **dict.fromkeys(("t0_zsopt", "t0_fsopt", "t0_zsnoopt", "t0_fsnoopt"), 0.08),
        **dict.fromkeys(("niv2_zsopt", "niv2_fsopt"), 0.1),
        **dict.fromkeys(("cot_zsopt", "cot_fsopt"), 0.025),
        **dict.fromkeys(("dialog_zsopt", "dialog_fsopt"), 0.015),
    }
}
"""Set -> submix -> its share of the rows, as in the Tulu mixtures of 2023; the order decides what is drawn. zs, fs:
without and with solved examples; opt, noopt: with and without the choices of answers."""
_SUBMIX = re.compile(r"(flan|t0|niv2|cot|dialog)_(zs|fs)_?(opt|noopt)(_data|_train|_part_?\d+)*")
_SPELLINGS = (
    "flan_zsopt.jsonl, flan_zsopt/flan_zsopt.jsonl, flan_zs_opt_train.jsonl.gz or flan_zs_opt_train_part1.jsonl.gz"
)


@dataclass
class Submix:
    """One submix: where it is, what there is of it, what is taken."""

    asked: int
    """Rows that its share comes to."""
    files: list[Path]
    lines: int = 0
    """Lines in its files, blank ones not counted."""

    @property
    def taken(self) -> int:
        """Rows in the output."""
        return min(self.asked, self.lines)


@dataclass
class ResampleReport:
    """What was drawn from each submix."""

    submixes: dict[str, Submix] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(submix.taken for submix in self.submixes.values())

    def figures(self) -> dict[str, object]:
        """The counts as plain JSON types."""
        counts = {name: {"lines": one.lines, "rows": one.taken} for name, one in self.submixes.items()}
        return {"rows": self.rows, "submixes": counts}


def resample(
    name: str,
    folder: Path,
    out: Path,
    *,
    total: int = 100_000,
    seed: int = 42,
    allow_short: bool = False,
    overwrite: bool = False,
) -> ResampleReport:
    """Write `total` lines drawn from the submixes in `folder` to `out`; what was there and what was taken.

    Submixes may be packed, and cut into numbered parts. With `allow_short` a submix with too few lines is
    taken whole and one without a file left out. Raises UserError for a set that is not known, for what is
    missing or too short (all of it at once), for files that cannot be read, and for a drawn line that is no record.
    """
    if name not in SHARES:
        raise unknown("set to resample", name, SHARES)
    if out.is_dir():
        raise UserError(f"{out} is a folder", "give --out the name of a file")
    check_output_file(out, overwrite)
    found = _files(folder, SHARES[name])
    if out.resolve() in {file.resolve() for files in found.values() for file in files}:
        raise UserError(f"{out} would replace its own input", "choose another --out")
    missing = [submix for submix, files in found.items() if not files]
    if missing and (len(missing) == len(found) or not allow_short):
        raise UserError(
            f"no file in {folder} for {len(missing)} of {len(found)} submixes: {', '.join(missing)}",
            f"names looked for are such as {_SPELLINGS}; --allow-short does without some of the submixes",
        )
    asked = quotas(SHARES[name], total)
    report = ResampleReport({submix: Submix(asked[submix], files) for submix, files in found.items()})
    size = sum(file.stat().st_size for files in found.values() for file in files)
    with progress("counting lines", size, unit="bytes") as advance:
        for submix, one in report.submixes.items():
            advance(0, note=submix)
            one.lines = sum(1 for file in one.files for _ in _lines(file, advance))
    if not allow_short:
        _check_enough(report)
    with atomic_file(out, "wb") as file, progress("copying lines", size, unit="bytes") as advance:
        generator = random.Random(seed)
        for submix, one in report.submixes.items():
            advance(0, note=submix)
            for line in _drawn(one, generator, advance):
                file.write(line + b"\n")
    return report


def quotas(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Rows of each submix, `total` together: rounded down, what is left to those that lost most by it.

    Raises UserError when the shares do not add up to 1, within what adding decimal fractions costs.
    """
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9):
        raise UserError(f"the shares add up to {sum(shares.values())}", "they must add up to 1")
    rows = {name: int(share * total) for name, share in shares.items()}
    losses = sorted(shares, key=lambda name: rows[name] - shares[name] * total)
    for name in losses[: total - sum(rows.values())]:
        rows[name] += 1
    return rows


def _files(folder: Path, submixes: Mapping[str, float]) -> dict[str, list[Path]]:
    """The files of each submix: beside each other, or in a folder called like the submix; parts by number."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}", "give the folder that holds the submixes") from error
    found: dict[str, list[Path]] = {submix: [] for submix in submixes}
    for entry in entries:
        match = _SUBMIX.fullmatch(entry.name if entry.is_dir() else _stem(entry) or "")
        if match and (submix := f"{match[1]}_{match[2]}{match[3]}") in found:
            inside = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            found[submix] += [file for file in inside if _stem(file) is not None]
    for submix, files in found.items():
        if len({re.sub(r"\d+", "", str(file)) for file in files}) > 1:
            names = ", ".join(str(file.relative_to(folder)) for file in files)
            raise UserError(f"{submix} is there more than once: {names}", "leave one of them in the folder")
        files.sort(key=lambda file: [int(number) for number in re.findall(r"\d+", file.name)])
    return found


def _stem(file: Path) -> str | None:
    """The name without `.jsonl` and without the suffix of its packing; None for other kinds of files."""
    name = file.name.removesuffix(file.suffix) if file.suffix in PACKED_SUFFIXES else file.name
    return name.removesuffix(".jsonl") if name.endswith(".jsonl") and file.is_file() else None


def _lines(file: Path, advance: Callable[[float], None]) -> Generator[bytes, None, None]:
    """Lines that are not blank, without their ends; tells how far the file was read, and the rest when closed early."""
    told = 0
    try:
        with open_stream(file) as stream:
            kind = container_kind(stream)
            if kind != "lines":
                what = "a JSON list" if kind == "list" else "a table"
                raise UserError(f"{file} is {what}", "submixes are JSON Lines: one object per line")
            begun: list[bytes] = []
            for block in stream:
                first, *others = block.split(b"\n")
                begun.append(first)
                if others:
                    *whole, rest = [b"".join(begun), *others]
                    begun = [rest]
                    yield from (line for line in whole if line and not line.isspace())
                elif sum(map(len, begun)) > LONGEST_RECORD_BYTES:
                    raise UserError(
                        f"{file} has a line of more than {LONGEST_RECORD_BYTES >> 20} MiB", "each line is one record"
                    )
                advance(stream.position() - told)
                told = stream.position()
            rest = b"".join(begun)
            if rest and not rest.isspace():
                yield rest
    finally:
        advance(file.stat().st_size - told)


def _check_enough(report: ResampleReport) -> None:
    short = [
        f"{name} has {one.lines:,} of {one.asked:,}" for name, one in report.submixes.items() if one.taken < one.asked
    ]
    if short:
        raise UserError(
            f"too few lines: {', '.join(short)}", "lower --total, or give --allow-short to take all that there are"
        )


def _drawn(submix: Submix, generator: random.Random, advance: Callable[[float], None]) -> Iterator[bytes]:
    """The lines drawn, in file order."""
    numbers = sorted(generator.sample(range(submix.lines), submix.taken))
    wanted, before = iter(numbers), 0
    number = next(wanted, None)
    for file in submix.files:
        before_file = before
        with closing(_lines(file, advance)) as lines:
            for place, line in enumerate(lines, start=before):
                if number is None:
                    break
                if place == number:
                    _check_record(line, f"{file}: record {place - before_file + 1}")
                    yield line
                    number = next(wanted, None)
                before = place + 1


def _check_record(line: bytes, where: str) -> None:
    """Raise UserError unless the line is a record of the set."""
    try:
        fields = json_value(line.decode(), where)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not valid UTF-8", "convert the file to UTF-8") from error
    if not isinstance(fields, dict):
        raise UserError(f"{where}: expected a JSON object, found {kind_of(fields)}", "each line is one record")
    Record(0, where, fields).require(*FIELDS)
