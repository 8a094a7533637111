"""Functions that the platform adds to a mart's SQL."""

from __future__ import annotations

# A window that ends at `window_end` is open until the watermark has reached it, also where there is none yet; from then
# on it is closed, or restated if it has rows that came too late.
_WINDOW_STATE = """\
CREATE MACRO window_state(window_end, watermark, late_rows) AS CASE
    WHEN watermark >= window_end AND late_rows > 0 THEN 'restated'
    WHEN watermark >= window_end THEN 'closed'
    ELSE 'open'
END"""
MACROS = (_WINDOW_STATE,)
