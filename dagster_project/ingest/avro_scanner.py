"""The Avro decoder's kernel: the values of a contract's columns from binary Avro, in one pass over its bytes.

https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dagster_project.ingest.compiled import Bytes, Marks, Numbers, inner, kernel
from dagster_project.ingest.scanner import Layout, Slots

# Steps of a program. Those from INT on read a value.
END, JUMP, UNION, STRUCT, LIST, NEXT = range(6)
INT, LONG, DATE, TIMESTAMP, BOOLEAN, FLOAT, DOUBLE, STRING, BYTES, FIXED, ENUM, DECIMAL = range(6, 18)
# Days and microseconds that Python's calendar has, from the year 1 to 9999.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
FIRST_MOMENT, LAST_MOMENT = FIRST_DAY * 86_400_000_000, (LAST_DAY + 1) * 86_400_000_000 - 1
ITEMS = 100_000  # as of `exact`, of which the compiler sees nothing
_WORD = 64  # bits of the longest number
_LONGEST = 8  # bytes of a decimal that surely fits a word
_DONE, _DOUBTFUL, _BROKEN, _FULL = 0, 1, 2, 3


class Program(NamedTuple):
    """How to read what a schema says, as flat arrays, one entry a step.

    Attributes:
        op: END … DECIMAL.
        node: of the layout, where the value goes; -1 for nowhere.
        argument: where to go on: after a JUMP, after the last element at NEXT; of a UNION, its first entry in `branches`;
            the factor of a TIMESTAMP or DECIMAL, 0 if its values must be looked at one by one; the size of a FIXED.
        more: how many branches of a UNION or symbols of an ENUM there are; of a DECIMAL that is fixed its size, or else -1.
        limit: of a DECIMAL, what its unscaled values stay below.
        branches: where each branch of each union begins.
        open: places for lists and maps that are open at once.
    """

    op: Numbers
    node: Numbers
    argument: Numbers
    more: Numbers
    limit: Numbers
    branches: Numbers
    open: Numbers


@kernel
def scan(
    content: Bytes, offsets: Numbers, layout: Layout, program: Program, slots: Slots, doubts: Marks, broken: Marks
) -> bool:
    """Scan all messages; false if a level has too few slots.

    Args:
        content, offsets: the messages, one after another, and where each begins; one entry more than there are messages.
        slots: to be filled; nothing is used yet. The value of a number is an integer, or the bits of a float or double,
            which its size tells: 0, 4 or 8.
        doubts: by message, to be set where a value does not go into its column as it is; all its values are null.
        broken: to be set, too, where it is not what the schema says at all.
    """
    current = np.zeros(len(layout.member_at) - 1, np.int64)  # by level, the slot that is filled
    stack = np.zeros((len(program.open), 2), np.int64)
    before = slots.used.copy()
    for row in range(len(offsets) - 1):
        before[:] = slots.used
        _clear(layout, slots, 0, row)
        slots.used[0] = row + 1
        current[0] = row
        outcome = _message(content, offsets[row], offsets[row + 1], layout, program, slots, current, stack)
        if outcome == _FULL:
            return False
        if outcome != _DONE:
            doubts[row] = True
            broken[row] = outcome == _BROKEN
            slots.used[1:] = before[1:]
            _clear(layout, slots, 0, row)
    return True


@inner
def _clear(layout: Layout, slots: Slots, level: int, slot: int) -> None:
    for index in range(layout.member_at[level], layout.member_at[level + 1]):
        place = slots.base[layout.members[index]] + slot
        slots.value[place] = 0
        slots.size[place] = -1


@inner
def _message(
    content: Bytes,
    at: int,
    end: int,
    layout: Layout,
    program: Program,
    slots: Slots,
    current: Numbers,
    stack: Numbers,
) -> int:
    base, value, size, used = slots.base, slots.value, slots.size, slots.used
    step = 0
    top = -1  # of the stack: elements left in the block, and elements so far
    doubtful = False
    while True:
        op, node, argument = program.op[step], program.node[step], program.argument[step]
        more = program.more[step]
        place = base[node] + current[layout.level[node]] if node >= 0 else -1
        step += 1
        if op == END:
            if at != end:
                return _BROKEN
            return _DOUBTFUL if doubtful else _DONE
        if op == JUMP:
            step = argument
            continue
        if op == UNION:
            branch, at = _number(content, at, end)
            if at > end or not 0 <= branch < more:
                return _BROKEN
            step = program.branches[argument + branch]
            continue
        if op == STRUCT or op == LIST:
            if op == LIST:
                top += 1
                stack[top, 0], stack[top, 1] = 0, 0
            if place >= 0:
                size[place] = 0
            continue
        if op == NEXT:
            if stack[top, 0] == 0:
                count, at = _number(content, at, end)
                if count < 0:
                    count = -count
                    _, at = _number(content, at, end)  # the block's bytes, for those who skip it
                if at > end or not 0 <= count <= end - at:  # each takes a byte at least
                    return _BROKEN
                stack[top, 0] = count
                doubtful |= node >= 0 and stack[top, 1] + count > ITEMS
                if count == 0:
                    if place >= 0:
                        value[place] = stack[top, 1]
                    top -= 1
                    step = argument
                    continue
            stack[top, 0] -= 1
            stack[top, 1] += 1
            if node >= 0:
                level, child = int(layout.inner[node]), int(layout.first[node])
                slot = int(used[level])
                if slot >= base[child + 1] - base[child]:
                    return _FULL
                used[level] = slot + 1
                current[level] = slot
                _clear(layout, slots, level, slot)
            continue
        # Values.
        found, length = 0, 0
        if op == STRING or op == BYTES or op == FIXED or (op == DECIMAL and more < 0):
            length = argument
            if op != FIXED:
                length, at = _number(content, at, end)
            if at > end or not 0 <= length <= end - at:
                return _BROKEN
            found = at
            at += length
            if op == STRING and not _is_utf8(content, found, at):
                doubtful = True
        elif op == FLOAT or op == DOUBLE or op == DECIMAL:
            length = 4 if op == FLOAT else 8 if op == DOUBLE else more
            if length > end - at:
                return _BROKEN
            found = at
            at += length
        elif op == BOOLEAN:
            if at >= end or content[at] > 1:
                return _BROKEN
            found = int(content[at])
            at += 1
        else:
            found, at = _number(content, at, end)
            if at > end:
                return _BROKEN
            if (op == INT or op == DATE) and not -(1 << 31) <= found < 1 << 31:
                return _BROKEN
            if op == ENUM and not 0 <= found < more:
                return _BROKEN
        if place < 0:
            continue
        if op == DATE:
            doubtful |= not FIRST_DAY <= found <= LAST_DAY
        elif op == TIMESTAMP:
            if FIRST_MOMENT // argument <= found <= LAST_MOMENT // argument:
                found *= argument
            else:
                doubtful = True
        elif op == FLOAT or op == DOUBLE:
            found = _little(content, found, length)
            exponent = (found >> 23) & 0xFF if op == FLOAT else (found >> 52) & 0x7FF
            doubtful |= exponent == (0xFF if op == FLOAT else 0x7FF)  # infinite, or not a number
        elif op == DECIMAL:
            if length > _LONGEST or argument == 0:
                doubtful = True
                found = 0
            else:
                found = _big(content, found, length)
                limit = program.limit[step - 1]
                if -limit < found < limit:
                    found *= argument
                else:
                    doubtful = True
            length = 0
        elif op != STRING:
            length = 0
        value[place] = found
        size[place] = length


@inner
def _number(content: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag number, and where the next thing begins: behind the end where it does not end before."""
    value, shift = 0, 0
    while at < end and shift < _WORD:
        byte = int(content[at])
        at += 1
        if shift == _WORD - 1 and byte > 1:
            return 0, end + 1  # more bits than any number has
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) & ((1 << 63) - 1) ^ -(value & 1), at
        shift += 7
    return 0, end + 1


@inner
def _big(content: Bytes, at: int, length: int) -> int:
    """A signed number, its greatest byte first; of no byte it is 0."""
    if length == 0:
        return 0
    value = int(content[at])
    value = value - 256 if value >= 128 else value
    for index in range(at + 1, at + length):
        value = (value << 8) | int(content[index])
    return value


@inner
def _little(content: Bytes, at: int, length: int) -> int:
    """A signed number, its least byte first."""
    value = int(content[at + length - 1])
    value = value - 256 if value >= 128 else value
    for index in range(length - 2, -1, -1):
        value = (value << 8) | int(content[at + index])
    return value


@inner
def _is_utf8(content: Bytes, at: int, end: int) -> bool:
    """Source: table 3-7 of the Unicode standard, well-formed byte sequences."""
    while at < end:
        first = int(content[at])
        at += 1
        if first < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            following = 1
        elif 0xE0 <= first <= 0xEF:
            following = 2
            low = 0xA0 if first == 0xE0 else low
            high = 0x9F if first == 0xED else high
        elif 0xF0 <= first <= 0xF4:
            following = 3
            low = 0x90 if first == 0xF0 else low
            high = 0x8F if first == 0xF4 else high
        else:
            return False
        if at + following > end or not low <= content[at] <= high:
            return False
        for index in range(at + 1, at + following):
            if not 0x80 <= content[index] <= 0xBF:
                return False
        at += following
    return True
