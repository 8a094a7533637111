"""The fast decoder's kernel: the values of a contract's columns from JSON texts, in one pass over their bytes.

It is strict, and it knows the usual spellings only: a text with anything else in it is marked as doubtful, and says nothing.
No doubt means that the values are those which `exact` would find.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dagster_project.ingest.compiled import Bytes, Marks, Numbers, Sizes, inner, kernel

STRING, INTEGER, NUMBER, DECIMAL, BOOLEAN, TIMESTAMP, DATE, LIST, STRUCT = range(9)
# In the size of a string that has escapes in it.
ESCAPED = 1 << 30
# Nested deeper than this a text is doubtful; within a field that the contract does not know, one bit a level.
DEPTH = 60
# Longer than any double that was printed to be read again, and exponents of more digits come near to overflow.
_DOUBLE, _EXPONENT = 24, 2
# As of `exact`, of which the compiler sees nothing: with more of them a text is doubtful.
ITEMS, MEMBERS = 100_000, 10_000
_DECIMALS = 300  # of a number, zeros for the most part
_DIGITS = 18  # of any integer that fits 64 bits whatever they are
_SHORT = 12  # bytes fit into a view
# Bytes that mean nothing in particular within a string: printable ASCII but quotes and backslashes.
_PLAIN = np.array([0x20 <= code < 0x80 and chr(code) not in '"\\' for code in range(256)])
_DONE, _DOUBTFUL, _FULL, _STRANGE = 0, 1, 2, 3


class Layout(NamedTuple):
    """Columns as flat arrays, one entry a node: node 0 is the row, each column, field and list element is one.

    A node has a slot for each row or, inside a list, for each element of that list: its level says which.

    Attributes:
        kind: STRING … STRUCT.
        first, children: the first child and how many there are, which are neighbours.
        level: 0 for rows, and one for each list.
        inner: of a list, the level of its elements.
        whole, scale: of a decimal, digits before and after the point; of an integer, the bits in `whole`.
        names, name_at: UTF-8, and where each begins; one entry more than there are nodes.
        members, member_at: nodes by level; one entry more than there are levels.
    """

    kind: Numbers
    first: Numbers
    children: Numbers
    level: Numbers
    inner: Numbers
    whole: Numbers
    scale: Numbers
    names: Bytes
    name_at: Numbers
    members: Numbers
    member_at: Numbers


class Slots(NamedTuple):
    """What was found, node by node.

    Attributes:
        base: where the slots of each node begin in `value` and `size`; one entry more than there are nodes.
        value: microseconds, days, units of the last decimal, 0 or 1, elements of a list; of strings and doubles where
            their text begins.
        size: -1 for null; of strings and doubles the length of their text, of strings with `ESCAPED`.
        used: slots used by level.
    """

    base: Numbers
    value: Numbers
    size: Sizes
    used: Numbers


class Members(NamedTuple):
    """Members of the texts, from the opening quote of their names to the end of their values.

    Attributes:
        row, start, size: of each, which text it is of, where it begins and its length.
        used: how many there are, in a single entry.
    """

    row: Numbers
    start: Numbers
    size: Sizes
    used: Numbers


@kernel
def scan(content: Bytes, offsets: Numbers, layout: Layout, slots: Slots, unknown: Members, doubts: Marks) -> bool:
    """Scan all texts; false if a level has too few slots, or there is no room for all that is unknown.

    Args:
        content, offsets: the texts, one after another, and where each begins; one entry more than there are texts.
        slots: to be filled; nothing is used yet.
        unknown: to be filled: members that the contract does not know, or of which it does not know all.
        doubts: by text, to be set. The values of a doubtful one are null.
    """
    stamps, strange = np.zeros(len(layout.kind), np.int64), np.zeros(len(layout.kind), np.int64)
    stack = np.zeros((DEPTH, 4), np.int64)
    before = slots.used.copy()
    serial = 0
    for row in range(len(offsets) - 1):
        before[:] = slots.used
        known = unknown.used[0]
        _clear(layout, slots, 0, row)
        slots.used[0] = row + 1
        start, end = offsets[row], offsets[row + 1]
        outcome, serial = _text(content, start, end, layout, slots, stamps, strange, stack, serial)
        if outcome == _STRANGE:
            outcome = _keep(content, start, end, layout, strange, stack[0, 2], unknown, row)
        if outcome == _FULL:
            return False
        if outcome == _DOUBTFUL:
            doubts[row] = True
            slots.used[1:] = before[1:]
            unknown.used[0] = known
            _clear(layout, slots, 0, row)
    return True


@kernel
def views(content: Bytes, starts: Numbers, sizes: Sizes) -> Bytes:
    """Texts within others as Arrow's views, of 16 bytes each.

    First the size, then the text itself if it is short, or else how it begins, the number of its buffer, which is 0, and
    where it is there: https://arrow.apache.org/docs/format/Columnar.html, variable-size binary view layout.
    """
    found = np.zeros((len(starts), 16), np.uint8)
    for row in range(len(starts)):
        start, size = starts[row], sizes[row] & (ESCAPED - 1)
        if sizes[row] <= 0:
            continue
        view = found[row]
        for byte in range(4):
            view[byte] = (size >> (8 * byte)) & 0xFF
        if size <= _SHORT:
            for byte in range(size):
                view[4 + byte] = content[start + byte]
        else:
            for byte in range(4):
                view[4 + byte] = content[start + byte]
                view[12 + byte] = (start >> (8 * byte)) & 0xFF
    return found


@inner
def _clear(layout: Layout, slots: Slots, level: int, slot: int) -> None:
    for index in range(layout.member_at[level], layout.member_at[level + 1]):
        place = slots.base[layout.members[index]] + slot
        slots.value[place] = 0
        slots.size[place] = -1


@inner
def _text(
    content: Bytes,
    place: int,
    end: int,
    layout: Layout,
    slots: Slots,
    stamps: Numbers,
    strange: Numbers,
    stack: Numbers,
    serial: int,
) -> tuple[int, int]:
    """One text: how it ended, and the serial number of the last object.

    Where it ends as strange, `strange` has the row's serial number at all columns with something unknown in them.
    """
    base, value, size, used = slots
    kinds, first_child, children, _, inner, whole, scale, _, _, _, _ = layout
    place = _blank(content, place, end)
    if _at(content, place, end) != ord("{"):
        return _DOUBTFUL, serial
    place += 1
    serial += 1
    depth = 0
    # Of what is open: node, slot, serial number of the object or elements of the list so far, the child expected next.
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, used[0] - 1, serial, first_child[0]
    fresh, known = True, True
    while True:
        node, slot = stack[depth, 0], stack[depth, 1]
        place = _blank(content, place, end)
        found = _at(content, place, end)
        if found == (ord("]") if kinds[node] == LIST else ord("}")):
            if kinds[node] == LIST:
                value[base[node] + slot] = stack[depth, 2]
            place += 1
            fresh = False
            depth -= 1
            if depth < 0:
                place = _blank(content, place, end)
                return (_DOUBTFUL if place != end else _DONE if known else _STRANGE), serial
            continue
        if not fresh:
            if found != ord(","):
                return _DOUBTFUL, serial
            place = _blank(content, place + 1, end)
        fresh = False
        if kinds[node] == LIST:
            child = first_child[node]
            level = int(inner[node])
            slot = int(used[level])
            if slot >= base[child + 1] - base[child]:
                return _FULL, serial
            if stack[depth, 2] == ITEMS:
                return _DOUBTFUL, serial
            used[level] = slot + 1
            stack[depth, 2] += 1
            _clear(layout, slots, level, slot)
        else:
            child = stack[depth, 3]
            past = _named(content, place, end, layout, child) if child < first_child[node] + children[node] else -1
            if past < 0:
                start = place + 1
                past, escaped = _string(content, place, end)
                if past < 0 or escaped:
                    return _DOUBTFUL, serial
                child = _child(content, start, past - 1, layout, node, child)
            place = past
            place = _blank(content, place, end)
            if _at(content, place, end) != ord(":"):
                return _DOUBTFUL, serial
            place = _blank(content, place + 1, end)
            if child < 0:
                place = _skip(content, place, end)
                if place < 0:
                    return _DOUBTFUL, serial
                known = False
                if depth > 0:
                    strange[stack[1, 0]] = stack[0, 2]
                continue
            stack[depth, 3] = child + 1
            if stamps[child] == stack[depth, 2]:
                return _DOUBTFUL, serial  # said twice
            stamps[child] = stack[depth, 2]
        kind = kinds[child]
        found = _at(content, place, end)
        if found == ord("n"):
            place = _word(content, place, end)
            if place < 0:
                return _DOUBTFUL, serial
        elif kind == LIST or kind == STRUCT:
            depth += 1
            if found != (ord("[") if kind == LIST else ord("{")) or depth == DEPTH:
                return _DOUBTFUL, serial
            serial += 1
            stack[depth, 0], stack[depth, 1] = child, slot
            stack[depth, 2], stack[depth, 3] = (0 if kind == LIST else serial), first_child[child]
            size[base[child] + slot] = 0
            fresh = True
            place += 1
        else:
            place, scalar, length = _scalar(content, place, end, kind, whole[child], scale[child])
            if place < 0:
                return _DOUBTFUL, serial
            value[base[child] + slot] = scalar
            size[base[child] + slot] = length


@inner
def _keep(
    content: Bytes,
    place: int,
    end: int,
    layout: Layout,
    strange: Numbers,
    serial: int,
    unknown: Members,
    row: int,
) -> int:
    """Go through a strange text again, so that the others need not note where members begin; returns how it ended."""
    place = _blank(content, place, end) + 1
    kept = 0
    while True:
        place = _blank(content, place, end)
        if content[place] == ord("}"):
            return _DONE
        if content[place] == ord(","):
            place = _blank(content, place + 1, end)
        start = place
        past, _ = _string(content, start, end)
        child = _child(content, start + 1, past - 1, layout, 0, layout.first[0])
        place = _skip(content, _name(content, start, end), end)
        if place < 0:  # a known value may be longer than an unknown one
            return _DOUBTFUL
        if child < 0 or strange[child] == serial:
            at = unknown.used[0]
            if at == len(unknown.row):
                return _FULL
            if kept == MEMBERS:
                return _DOUBTFUL
            kept += 1
            unknown.row[at], unknown.start[at], unknown.size[at] = row, start, place - start
            unknown.used[0] = at + 1


@inner
def _named(content: Bytes, place: int, end: int, layout: Layout, child: int) -> int:
    """Past the child's name in quotes, or -1 if something else is there."""
    name = layout.name_at[child]
    length = layout.name_at[child + 1] - name
    if end - place < length + 2 or content[place] != ord('"') or content[place + length + 1] != ord('"'):
        return -1
    for index in range(length):
        if layout.names[name + index] != content[place + 1 + index]:
            return -1
    return place + length + 2


@inner
def _child(content: Bytes, start: int, end: int, layout: Layout, node: int, expected: int) -> int:
    """The child of this name, or -1; producers keep the order of fields, so that the first guess is mostly right."""
    first, count = layout.first[node], layout.children[node]
    for turn in range(count):
        child = first + (expected - first + turn) % count
        name, length = layout.name_at[child], layout.name_at[child + 1] - layout.name_at[child]
        if length != end - start:
            continue
        same = True
        for index in range(length):
            if layout.names[name + index] != content[start + index]:
                same = False
                break
        if same:
            return child
    return -1


@inner
def _at(content: Bytes, place: int, end: int) -> int:
    """The byte there; 0, which no JSON has outside of strings, past the end."""
    return int(content[place]) if place < end else 0


@inner
def _blank(content: Bytes, place: int, end: int) -> int:
    while place < end and (content[place] == 32 or content[place] == 10 or content[place] == 13 or content[place] == 9):
        place += 1
    return place


@inner
def _string(content: Bytes, place: int, end: int) -> tuple[int, bool]:
    """Past the closing quote, and whether there are escapes; -1 if it is none."""
    if _at(content, place, end) != ord('"'):
        return -1, False
    place += 1
    escaped = False
    while place < end:
        while place < end and _PLAIN[content[place]]:
            place += 1
        found = _at(content, place, end)
        if found == ord('"'):
            return place + 1, escaped
        if found < ord(" "):
            return -1, False
        if found >= 0x80:
            length = _utf8(content, place, end)
            if length < 0:
                return -1, False
            place += length
            continue
        place += 1
        if found == ord("\\"):
            escaped = True
            found = _at(content, place, end)
            place += 1
            if found == ord("u"):
                code = _hex(content, place, end)
                place += 4
                if 0xD800 <= code < 0xDC00 and _at(content, place, end) == ord("\\"):
                    # The other half must follow.
                    code = _hex(content, place + 2, end) - 0x400 if _at(content, place + 1, end) == ord("u") else -1
                    place += 6 if 0xD800 <= code < 0xDC00 else 0
                    code = 0 if 0xD800 <= code < 0xDC00 else -1
                if code < 0 or 0xD800 <= code < 0xE000:
                    return -1, False
            elif not (
                found == ord('"')
                or found == ord("\\")
                or found == ord("/")
                or found == ord("b")
                or found == ord("f")
                or found == ord("n")
                or found == ord("r")
                or found == ord("t")
            ):
                return -1, False
    return -1, False


@inner
def _utf8(content: Bytes, place: int, end: int) -> int:
    """Bytes of a character beyond ASCII, or -1. Source: table 3-7 of the Unicode standard, well-formed byte sequences."""
    first, second = _at(content, place, end), _at(content, place + 1, end)
    low, high = 0x80, 0xBF
    if 0xC2 <= first <= 0xDF:
        length = 2
    elif 0xE0 <= first <= 0xEF:
        length = 3
        low = 0xA0 if first == 0xE0 else low
        high = 0x9F if first == 0xED else high
    elif 0xF0 <= first <= 0xF4:
        length = 4
        low = 0x90 if first == 0xF0 else low
        high = 0x8F if first == 0xF4 else high
    else:
        return -1
    if not low <= second <= high:
        return -1
    for index in range(place + 2, place + length):
        if not 0x80 <= _at(content, index, end) <= 0xBF:
            return -1
    return length


@inner
def _hex(content: Bytes, place: int, end: int) -> int:
    """Four hexadecimal digits, or -1."""
    value = 0
    for index in range(place, place + 4):
        digit = _at(content, index, end)
        if 48 <= digit <= 57:
            value = value * 16 + digit - 48
        elif 97 <= digit | 32 <= 102:
            value = value * 16 + (digit | 32) - 87
        else:
            return -1
    return value


@inner
def _word(content: Bytes, place: int, end: int) -> int:
    """Past `true`, `false` or `null`; -1 if it is none."""
    first, second = _at(content, place, end), _at(content, place + 1, end)
    third, fourth = _at(content, place + 2, end), _at(content, place + 3, end)
    if first == ord("t") and second == ord("r") and third == ord("u") and fourth == ord("e"):
        return place + 4
    if first == ord("n") and second == ord("u") and third == ord("l") and fourth == ord("l"):
        return place + 4
    if first == ord("f") and second == ord("a") and third == ord("l") and fourth == ord("s"):
        return place + 5 if _at(content, place + 4, end) == ord("e") else -1
    return -1


@inner
def _digits(content: Bytes, place: int, end: int) -> int:
    while place < end and 48 <= content[place] <= 57:
        place += 1
    return place


@inner
def _number(content: Bytes, place: int, end: int) -> int:
    """Past a number of reasonable length; -1 if it is none."""
    start = place
    if _at(content, place, end) == ord("-"):
        place += 1
    first = place
    place = _digits(content, place, end)
    if place == first or (content[first] == ord("0") and place > first + 1):
        return -1
    if _at(content, place, end) == ord("."):
        first = place + 1
        place = _digits(content, first, end)
        if place == first:
            return -1
    if _at(content, place, end) | 32 == ord("e"):
        place += 1
        if _at(content, place, end) == ord("-") or _at(content, place, end) == ord("+"):
            place += 1
        first = place
        place = _digits(content, place, end)
        if place == first or place - first > _EXPONENT:
            return -1
    return place if place - start <= _DOUBLE else -1


@inner
def _name(content: Bytes, place: int, end: int) -> int:
    """Past the name of a field and its colon; -1 if it is none."""
    place, _ = _string(content, place, end)
    if place < 0:
        return -1
    place = _blank(content, place, end)
    return _blank(content, place + 1, end) if _at(content, place, end) == ord(":") else -1


@inner
def _skip(content: Bytes, place: int, end: int) -> int:
    """Past any value; -1 if it is none."""
    objects = 0  # a bit for each level: whether it is an object
    depth = 0
    while place >= 0:
        found = _at(content, place, end)
        if found == ord("{") or found == ord("["):
            if depth == DEPTH:
                return -1
            depth += 1
            objects = (objects << 1) | (1 if found == ord("{") else 0)
            place = _blank(content, place + 1, end)
            if _at(content, place, end) != (ord("}") if objects & 1 else ord("]")):
                if objects & 1:
                    place = _name(content, place, end)
                continue
        elif found == ord('"'):
            place, _ = _string(content, place, end)
        elif found == ord("-") or 48 <= found <= 57:
            place = _number(content, place, end)
        else:
            place = _word(content, place, end)
        if place < 0:
            return -1
        while depth > 0:
            place = _blank(content, place, end)
            found = _at(content, place, end)
            if found == ord(","):
                break
            if found != (ord("}") if objects & 1 else ord("]")):
                return -1
            place += 1
            depth -= 1
            objects >>= 1
        if depth == 0:
            return place
        place = _blank(content, place + 1, end)
        if objects & 1:
            place = _name(content, place, end)
    return -1


@inner
def _scalar(content: Bytes, place: int, end: int, kind: int, whole: int, scale: int) -> tuple[int, int, int]:
    """Past a scalar, its value and its size; -1 where it is doubtful."""
    if kind == STRING:
        past, escaped = _string(content, place, end)
        return past, place + 1, (past - place - 2) | (ESCAPED if escaped else 0)
    if kind == NUMBER:
        past = _number(content, place, end)
        # Python's integers know no negative zero.
        if past == place + 2 and content[place] == ord("-") and content[place + 1] == ord("0"):
            return -1, 0, 0
        return past, place, past - place
    if kind == BOOLEAN:
        past = _word(content, place, end)
        return past, (1 if _at(content, place, end) == ord("t") else 0), 0
    if kind == INTEGER:
        past, value = _decimal(content, place, end, _DIGITS, 0)
        bound = 1 << (whole - 1) if whole < 64 else 0
        if _at(content, past, end) == ord(".") or (bound > 0 and not -bound <= value < bound):
            return -1, 0, 0
        return past, value, 0
    if kind == DECIMAL and _at(content, place, end) != ord('"'):
        past, value = _decimal(content, place, end, whole, scale)
        return past, value, 0
    if _at(content, place, end) != ord('"'):
        return -1, 0, 0
    if kind == DECIMAL:
        past, value = _decimal(content, place + 1, end, whole, scale)
    elif kind == TIMESTAMP:
        past, value = _timestamp(content, place + 1, end)
    else:
        past, value = _date(content, place + 1, end)
    return (past + 1 if past >= 0 and _at(content, past, end) == ord('"') else -1), value, 0


@inner
def _decimal(content: Bytes, place: int, end: int, whole: int, scale: int) -> tuple[int, int]:
    """Past a number without an exponent, and its value in units of the last decimal."""
    negative = _at(content, place, end) == ord("-")
    if negative:
        place += 1
    first = place
    place = _digits(content, place, end)
    if place == first or (content[first] == ord("0") and place > first + 1) or place - first > max(whole, 1):
        return -1, 0
    if content[first] == ord("0"):
        first = place
    if place - first > whole or place - first + scale > _DIGITS:
        return -1, 0
    value = 0
    for index in range(first, place):
        value = value * 10 + int(content[index]) - 48
    decimals = 0
    if scale > 0 and _at(content, place, end) == ord("."):
        first = place + 1
        place = _digits(content, first, end)
        if not first < place <= first + _DECIMALS:
            return -1, 0
        for index in range(first, place):
            if decimals < scale:
                value = value * 10 + int(content[index]) - 48
                decimals += 1
            elif content[index] != ord("0"):
                return -1, 0
    for _ in range(scale - decimals):
        value *= 10
    return place, -value if negative else value


@inner
def _pair(content: Bytes, place: int, end: int, most: int) -> int:
    """A number of two digits, or -1."""
    if place + 2 > end:
        return -1
    tens, ones = int(content[place]) - 48, int(content[place + 1]) - 48
    value = tens * 10 + ones
    return value if 0 <= tens <= 9 and 0 <= ones <= 9 and value <= most else -1


@inner
def _date(content: Bytes, place: int, end: int) -> tuple[int, int]:
    """Past YYYY-MM-DD, and days since 1970-01-01 in the Gregorian calendar.

    Source: days_from_civil of http://howardhinnant.github.io/date_algorithms.html: years that begin in March.
    """
    century, decade = _pair(content, place, end, 99), _pair(content, place + 2, end, 99)
    month, day = _pair(content, place + 5, end, 12), _pair(content, place + 8, end, 31)
    year = century * 100 + decade
    # Python's calendar ends at 1 and 9999, and a time zone may lead past it.
    if century < 0 or decade < 0 or month < 1 or day < 1 or not 1 < year < 9999:
        return -1, 0
    if content[place + 4] != ord("-") or content[place + 7] != ord("-"):
        return -1, 0
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month == 2 and day > (29 if leap else 28):
        return -1, 0
    if day == 31 and (month == 4 or month == 6 or month == 9 or month == 11):
        return -1, 0
    if month <= 2:
        year -= 1
    before = year * 365 + year // 4 - year // 100 + year // 400
    return place + 10, before + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468


@inner
def _timestamp(content: Bytes, place: int, end: int) -> tuple[int, int]:
    """Past an ISO 8601 date and time, and microseconds since the epoch; without a zone it is UTC."""
    place, days = _date(content, place, end)
    if place < 0 or _at(content, place, end) == ord('"'):
        return place, days * 86_400_000_000
    hour, minute = _pair(content, place + 1, end, 23), _pair(content, place + 4, end, 59)
    if hour < 0 or minute < 0 or _at(content, place + 3, end) != ord(":"):
        return -1, 0
    if content[place] != ord("T") and content[place] != ord(" "):
        return -1, 0
    seconds = (hour * 60 + minute) * 60
    place += 6
    fraction = 0
    if _at(content, place, end) == ord(":"):
        second = _pair(content, place + 1, end, 59)
        if second < 0:
            return -1, 0
        seconds += second
        place += 3
        if _at(content, place, end) == ord("."):
            first = place + 1
            place = _digits(content, first, end)
            if not 1 <= place - first <= 6:
                return -1, 0
            for index in range(6):
                fraction = fraction * 10 + (int(content[first + index]) - 48 if first + index < place else 0)
    sign = _at(content, place, end)
    if sign == ord("Z"):
        place += 1
    elif sign == ord("+") or sign == ord("-"):
        hour, minute = _pair(content, place + 1, end, 23), _pair(content, place + 4, end, 59)
        if hour < 0 or minute < 0 or _at(content, place + 3, end) != ord(":"):
            return -1, 0
        offset = (hour * 60 + minute) * 60
        seconds += offset if sign == ord("-") else -offset
        place += 6
    return place, (days * 86_400 + seconds) * 1_000_000 + fraction
