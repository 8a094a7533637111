"""Decoding a batch of JSON payloads by column, and naming what is wrong with those that do not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import LARGEST_BYTES, Column, DataType
from dagster_project.ingest import exact, scanner
from dagster_project.ingest.arrow import Array, ends, marks, spans, valid
from dagster_project.ingest.compiled import Bytes, Marks, Numbers, Sizes
from dagster_project.ingest.layout import children, layout_of
from dagster_project.ingest.scanner import ESCAPED, Layout, Members, Slots
from dagster_project.lake.specs import ERROR, RESCUED

# Elements of all lists of a payload, or its unknown members, and slots of an empty batch. Eight times as many are made where
# they do not suffice: each time all is scanned again.
_ELEMENTS, _FEWEST, _MORE = 4, 64, 8
# Of payloads that are decoded one by one, until their values go from Python's objects, of which each takes tens of bytes, to
# columns.
_EXACT_BYTES = 4 << 20


class Decoder:
    """Decodes payloads of one contract.

    A compiled scanner reads the values of all of them. A row counts where nothing is in doubt; the others, few in any
    healthy stream, go through `exact.decode`, which also names the reason where a payload is poison.
    """

    def __init__(self, columns: tuple[Column, ...], *, largest: int = LARGEST_BYTES) -> None:
        """Args: largest: bytes of a payload; a larger one is poison, and nobody looks into it."""
        self._columns = columns
        self._largest = largest
        self._schema = polars_schema(columns)
        self._layout = layout_of(columns)
        self._elements = _ELEMENTS

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """Decode a Binary series without nulls.

        Returns:
            One row a payload, in order: the contract's columns, `_rescued` (all null where the payload is poison) and
            `_error`.
        """
        sizes = payloads.bin.size()
        if len(sizes) and int(sizes.max()) > self._largest:  # pyright: ignore[reportArgumentType] there is one
            return self._without(payloads, sizes > self._largest)
        arrow = payloads.to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, content = arrow.buffers()
        offsets = np.frombuffer(offsets or bytes(8), np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
        content = np.frombuffer(content or b"", np.uint8)
        rows, most = len(payloads), int(offsets[-1] - offsets[0]) + _FEWEST  # each element takes a byte at least
        room = min(self._elements * rows + _FEWEST, most)
        while (scanned := self._scan(content, offsets, room)) is None:
            room = min(room * _MORE, most)
        # One message of a million elements makes no room for a million of each of the next ones.
        self._elements = max(_ELEMENTS, 2 * scanned.most // max(rows, 1))
        frame = pl.DataFrame(
            [
                pl.Series(column.name, scanned.array(node, column.type), dtype=self._schema[column.name])
                for node, column in enumerate(self._columns, start=1)
            ],
        ).with_columns(scanned.rescued().alias(RESCUED), pl.lit(None, pl.String).alias(ERROR))
        doubtful = np.flatnonzero(scanned.doubts)
        return self._replace(frame, doubtful, payloads) if doubtful.size else frame

    def _without(self, payloads: pl.Series, large: pl.Series) -> pl.DataFrame:
        nothing = pl.repeat(b"", len(payloads), dtype=pl.Binary, eager=True)
        decoded = self.decode(payloads.zip_with(~large, nothing))
        reason = f"payload.size: more than {self._largest} bytes"
        values = decoded.select(pl.when(~large).then(pl.exclude(ERROR)))
        return values.with_columns(decoded[ERROR].set(large, reason))

    def _scan(self, content: Bytes, offsets: Numbers, room: int) -> Scanned | None:
        """Scan all payloads.

        Args:
            room: for elements of lists and for unknown members; `None` comes back where it does not suffice.
        """
        rows = len(offsets) - 1
        base = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(self._layout.level == 0, rows, room))])
        slots = Slots(
            base=base,
            value=np.empty(base[-1], np.int64),
            size=np.empty(base[-1], np.int32),
            used=np.zeros(len(self._layout.member_at) - 1, np.int64),
        )
        unknown = Members(
            row=np.empty(room, np.int64),
            start=np.empty(room, np.int64),
            size=np.empty(room, np.int32),
            used=np.zeros(1, np.int64),
        )
        doubts = np.zeros(rows, np.bool_)
        if not self._fill(content, offsets, slots, unknown, doubts):
            return None
        return Scanned(layout=self._layout, content=content, slots=slots, unknown=unknown, doubts=doubts)

    def _fill(self, content: Bytes, offsets: Numbers, slots: Slots, unknown: Members, doubts: Marks) -> bool:
        return scanner.scan(content, offsets, self._layout, slots, unknown, doubts)

    def _exactly(self, payload: bytes, row: int) -> dict[str, object]:  # noqa: ARG002 other formats know more of a row
        return exact.decode(payload, self._columns)

    def _replace(self, frame: pl.DataFrame, doubtful: npt.NDArray[np.int64], payloads: pl.Series) -> pl.DataFrame:
        """The frame with what the doubtful payloads mean; they have no values in it yet."""
        schema = {**self._schema, RESCUED: pl.String(), ERROR: pl.String()}
        rows: list[dict[str, object]] = []
        exactly: list[pl.DataFrame] = []
        known: list[int] = []
        reasons: list[str | None] = [None] * len(doubtful)
        size = 0
        for place, payload in enumerate(payloads.gather(doubtful)):
            try:
                rows.append(self._exactly(payload, int(doubtful[place])))
                known.append(place)
            except exact.Rejected as reason:
                reasons[place] = str(reason)
            size += len(payload)
            if size > _EXACT_BYTES:
                exactly.append(pl.DataFrame(rows, schema=schema))
                rows, size = [], 0
        frame = frame.with_columns(frame[ERROR].scatter(doubtful, pl.Series(reasons, dtype=pl.String)))
        if not known:
            return frame
        exactly.append(pl.DataFrame(rows, schema=schema))
        # Each row from where it is known: those decoded exactly stand behind all others.
        order = np.arange(len(frame), dtype=np.uint32)
        order[doubtful[known]] = len(frame) + np.arange(len(known), dtype=np.uint32)
        return pl.concat([frame, *exactly], rechunk=True)[order]


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What the scanner found, as Arrow arrays."""

    layout: Layout
    content: Bytes
    slots: Slots
    unknown: Members
    doubts: Marks

    @property
    def most(self) -> int:
        """How much room it has taken for elements or members."""
        return int(max(self.unknown.used[0], self.slots.used[1:].max(initial=0)))

    def rescued(self) -> pl.Series:
        """By row, a JSON object of what is unknown in it, or null."""
        used = int(self.unknown.used[0])
        nothing = pl.repeat(None, len(self.doubts), dtype=pl.String, eager=True)
        if not used:
            return nothing
        texts = spans(pa.string_view(), self.content, self.unknown.start[:used], self.unknown.size[:used])
        members = pl.DataFrame({"row": self.unknown.row[:used], "text": pl.Series(texts)})
        objects = members.group_by("row", maintain_order=True).agg(
            pl.concat_str(pl.lit("{"), pl.col("text").str.join(","), pl.lit("}")).alias("text")
        )
        return nothing.scatter(objects["row"].cast(pl.UInt32), objects["text"])

    def array(self, node: int, data_type: DataType) -> Array:
        """The values of a node, one for each slot that is used."""
        start = int(self.slots.base[node])
        end = start + int(self.slots.used[self.layout.level[node]])
        value, size = self.slots.value[start:end], self.slots.size[start:end]
        null = size < 0
        match data_type.kind:
            case "struct" | "list":
                first = int(self.layout.first[node])
                inner = [self.array(first + place, child) for place, (_, child) in enumerate(children(data_type))]
                if data_type.kind == "struct":
                    return pa.StructArray.from_arrays(
                        inner, [name for name, _ in children(data_type)], mask=marks(null)
                    )
                return pa.LargeListArray.from_arrays(ends(value), inner[0], mask=marks(null))
            case "string":
                return self._strings(value, size)
            case "number":
                return self._doubles(value, size)
            case "boolean":
                packed = np.packbits(value != 0, bitorder="little")
                return pa.Array.from_buffers(pa.bool_(), len(value), [valid(null), pa.py_buffer(packed)])
            case "decimal":
                wide = np.stack([value, value >> 63], axis=1)  # the upper half repeats the sign
                kind = pa.decimal128(data_type.precision, data_type.scale)
                return pa.Array.from_buffers(kind, len(value), [valid(null), pa.py_buffer(wide)])
            case "timestamp":
                return pa.Array.from_buffers(pa.timestamp("us", "UTC"), len(value), [valid(null), pa.py_buffer(value)])
            case kind:
                narrow = kind == "date" or data_type.bits == 32  # noqa: PLR2004 bits
                arrow = pa.date32() if kind == "date" else pa.int32() if narrow else pa.int64()
                value = value.astype(np.int32) if narrow else value
                return pa.Array.from_buffers(arrow, len(value), [valid(null), pa.py_buffer(value)])

    def _doubles(self, starts: Numbers, sizes: Sizes) -> Array:
        return pl.Series(self._strings(starts, sizes)).cast(pl.Float64).to_arrow()

    def _strings(self, starts: Numbers, sizes: Sizes) -> Array:
        found = spans(pa.string_view(), self.content, starts, sizes)
        escaped = np.flatnonzero((sizes > 0) & (sizes >= ESCAPED))
        if not escaped.size:
            return found
        text = pl.Series(found)
        plain = json.loads('["' + '","'.join(text.gather(escaped).to_list()) + '"]')
        return text.scatter(escaped, pl.Series(plain, dtype=pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())
