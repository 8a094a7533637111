"""Bar charts as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape  # nothing is parsed; # nosec B406

_WIDTH, _ROW, _TOP, _EDGE = 720, 34, 56, 20
# Room for names on the left and for values on the right.
_NAMES, _VALUES = 190, 130
_FONT = 'font-family="system-ui, sans-serif" font-size="14"'
_PAPER, _INK, _FAINT, _OURS, _OTHERS = "#ffffff", "#1f2430", "#6b7280", "#2f6fde", "#b6bdc9"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One value.

    Attributes:
        text: the value as it is written beside the bar.
        ours: drawn so that it is seen first.
    """

    name: str
    value: float
    text: str
    ours: bool = False


def bars(title: str, bars: Sequence[Bar], *, unit: str) -> str:
    """Horizontal bars on one scale that begins at nothing."""
    most = max(bar.value for bar in bars) or 1.0
    space = _WIDTH - _NAMES - _VALUES - 2 * _EDGE
    height = _TOP + _ROW * len(bars) + _EDGE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_PAPER}"/>',
        f'<text x="{_EDGE}" y="26" fill="{_INK}" font-weight="600">{escape(title)}</text>',
        f'<text x="{_EDGE}" y="44" fill="{_FAINT}" font-size="12">{escape(unit)}</text>',
    ]
    for number, bar in enumerate(bars):
        top = _TOP + number * _ROW
        colour = _OURS if bar.ours else _OTHERS
        # A bar of nothing is still seen to be there.
        width = max(space * bar.value / most, 2.0)
        lines += [
            f'<text x="{_EDGE + _NAMES - 10}" y="{top + 20}" fill="{_INK}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{_EDGE + _NAMES}" y="{top + 5}" width="{width:.1f}" height="{_ROW - 12}" rx="3" fill="{colour}"/>',
            f'<text x="{_EDGE + _NAMES + width + 8:.1f}" y="{top + 20}" fill="{_INK}">{escape(bar.text)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
