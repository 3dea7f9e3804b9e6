"""Parquet: tables cut into batches of rows, and the batches as records."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packtrain.core.errors import UserError
from packtrain.data.reading.csv_container import JSON_COLUMNS, json_cell
from packtrain.data.reading.json_container import PIECE_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 1 << 14
"""Of one batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of rows of a Parquet file."""

    arrow: bytes
    """The rows as an Arrow IPC stream."""
    records: int
    first_row: int
    """From 1."""

    def values(self, shown: str) -> Iterator[tuple[str, Any]]:
        """Place and fields of each row; lists and structs are lists and dicts. UserError for broken text."""
        import pyarrow as pa

        try:
            table = pa.ipc.open_stream(self.arrow).read_all()
            found = table.to_pylist()
        except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
            raise _damaged(shown, error) from error
        decoded = [name for name in JSON_COLUMNS if name in table.column_names]
        foreign = [field.name for field in table.schema if not _is_json(field.type)]
        for number, fields in enumerate(found, start=self.first_row):
            where = f"{shown}: record {number}"
            for name in foreign:
                fields[name] = _as_json(fields[name])
            for name in decoded:
                fields[name] = json_cell(fields[name], f"{where}: {name}")
            yield where, fields


def _is_json(kind: "pa.DataType") -> bool:
    """Whether values of an Arrow type are what JSON has when they become Python's."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_json(kind.value_type)
    if kind.num_fields:
        return not pa.types.is_map(kind) and all(_is_json(kind.field(place).type) for place in range(kind.num_fields))
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_boolean,
            pa.types.is_null,
        )
    )


def _as_json(value: Any) -> Any:
    """Bytes as the text that they are, or in base64; times and decimals as text; the rest as it is."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value)


def batches(path: Path) -> Iterator[tuple[Batch, float]]:
    """Runs of rows, each with the share of the file that is read by its end; UserError when the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=PIECE_BYTES, page_checksum_verification=True) as file:
            rows = file.metadata.num_rows
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
            at_once = max(1, min(_MOST_ROWS, PIECE_BYTES * rows // max(size, 1)))
            for batch in file.iter_batches(at_once):
                parts = max(1, batch.nbytes // PIECE_BYTES)  # dictionaries make batches larger than the file says
                step = max(1, -(-batch.num_rows // parts))
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    yield Batch(_stream(part), part.num_rows, number + 1), (number + part.num_rows) / rows
                    number += part.num_rows
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _damaged(str(path), error) from error
    if number != rows:
        raise _damaged(str(path), f"{number} of {rows} rows found")


def _stream(batch: "pa.RecordBatch") -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _damaged(shown: str, error: object) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"{shown} is not a whole Parquet file ({reason})", "the file may be damaged or cut short: fetch it again"
    )
