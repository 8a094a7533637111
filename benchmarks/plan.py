"""One chunk of the workload: its orders, all their messages, and when each of them arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.shop import CANCELLED, STATUSES, place_orders
from benchmarks.spoil import POISON, UNLAWFUL, Spoiler, spoil
from benchmarks.text import HOUR_MS, MINUTE_MS, moments

# Of all events: copies to the byte, those beyond the allowed lateness, those that cannot be read, those that break a rule.
DUPLICATES, LATE, POISONED, GATED = 0.05, 0.03, 0.001, 0.0005
# Orders with one to four versions.
_VERSIONS = (0.20, 0.25, 0.35, 0.20)
# Later than the contract's allowed lateness of ten minutes, and up to a quarter of a day.
_LATE_BY_MS = (11 * MINUTE_MS, 6 * HOUR_MS)
# In widths of a chunk: the mean time between two versions of an order, how long versions are held up on their way, and how
# soon a duplicate follows. So an order has its events in a few neighbouring chunks.
_STEP, _HELD_UP_FOR, _REPEATED_AFTER = 0.2, 0.3, 0.05
# Versions that are held up, most of them until after their successor; orders whose last version is a cancellation.
_HELD_UP, _CANCELLED = 0.05, 0.15


def share(fraction: float, first: int, last: int) -> range:
    """The numbers of a fraction of the events `first` to before `last`; no chunk has the same, and none is left out."""
    return range(int(first * fraction), int(last * fraction))


class Plan:
    """Events `first` to before `last` of a workload; orders are placed from `begin_ms` to `end_ms` (since the epoch).

    Attributes:
        messages: `key`, `value`, and `arrival` in ms, some of them after `end_ms`; in no order.
        silver: the orders as they are in the end: columns of the contract; `units`, and `cents` of it all.
        counts: of events by what must become of them, and of orders.
    """

    def __init__(
        self,
        *,
        seed: int,
        first: int,
        last: int,
        begin_ms: float,
        end_ms: float,
        oldest_ms: int,
        regions: tuple[str, ...],
    ) -> None:
        self.end_ms = end_ms
        self._width_ms = end_ms - begin_ms
        self._rng = np.random.default_rng([seed, first])
        duplicates, poisoned, gated = (share(fraction, first, last) for fraction in (DUPLICATES, POISONED, GATED))
        versions = self._versions(last - first - len(duplicates) - len(poisoned) - len(gated))
        sent = np.sort(self._rng.uniform(begin_ms, end_ms, len(versions)))
        late = self._rng.random(len(versions)) < LATE
        behind = np.where(late, self._rng.uniform(*_LATE_BY_MS, len(versions)), 0.0)
        placed = np.maximum(sent - behind, oldest_ms).astype(np.int64)
        self._orders = place_orders(self._rng, placed, regions)
        events = self._events(placed, sent, versions)
        self._last = events[np.cumsum(versions) - 1]
        good = self._messages(events)
        copies = good[self._rng.choice(len(good), len(duplicates), replace=False)]
        wait = pl.Series(self._rng.exponential(_REPEATED_AFTER * self._width_ms, len(duplicates)))
        self.messages = pl.concat(
            [
                good,
                copies.with_columns(pl.col("arrival") + wait),
                self._spoilt(POISON, poisoned),
                self._spoilt(UNLAWFUL, gated),
            ]
        )
        moment = self._last["event_ms"].cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
        self.silver = self._orders.drop("head", "middle", "tail").with_columns(
            event_time=moment, status=self._last["status"]
        )
        self.counts = Counter(
            events=last - first,
            valid=len(good),
            duplicates=len(duplicates),
            superseded=len(good) - len(versions),
            orders=len(versions),
            poison=len(poisoned),
            gated=len(gated),
            late=int(versions[late].sum()),
            payload_bytes=int(self.messages["value"].bin.size().sum()),
        )

    def never(self, count: int) -> pl.DataFrame:
        """Messages that would cancel some orders, if ever they were read."""
        return self._messages(self._newer(count).with_columns(status=pl.lit(STATUSES[CANCELLED])))

    def _versions(self, events: int) -> NDArray[np.int64]:
        """Numbers of versions that add up to this many events."""
        drawn = self._rng.choice(len(_VERSIONS), events, p=_VERSIONS) + 1
        versions = drawn[: int(np.searchsorted(np.cumsum(drawn), events)) + 1]
        versions[-1] -= versions.sum() - events
        return versions

    def _events(
        self, placed: NDArray[np.int64], sent: NDArray[np.float64], versions: NDArray[np.int64]
    ) -> pl.DataFrame:
        """One row a version, order by order: `order`, `event_ms`, `status`, `arrival`."""
        order = np.repeat(np.arange(len(versions)), versions)
        starts = np.repeat(np.cumsum(versions) - versions, versions)
        number = np.arange(len(order)) - starts
        step = 1 + self._rng.exponential(_STEP * self._width_ms, len(order)).astype(np.int64)
        passed = np.cumsum(np.where(number == 0, 0, step))
        passed -= passed[starts]
        held_up = self._rng.exponential(_HELD_UP_FOR * self._width_ms, len(order))
        held_up *= self._rng.random(len(order)) < _HELD_UP
        newest = (number == versions[order] - 1) & (number > 0)
        cancelled = newest & (self._rng.random(len(order)) < _CANCELLED)
        # An order in two parcels is shipped twice.
        status = np.where(cancelled, CANCELLED, np.minimum(number, CANCELLED - 1))
        return pl.DataFrame(
            {
                "order": order,
                "event_ms": placed[order] + passed,
                "status": STATUSES.gather(status),
                "arrival": sent[order] + passed + held_up,
            }
        )

    def _newer(self, count: int) -> pl.DataFrame:
        """Events that would be the newest of some orders, if they held."""
        chosen = self._last[self._rng.integers(0, len(self._last), count)]
        arrival = self._rng.uniform(self.end_ms - self._width_ms, self.end_ms, count)
        return chosen.with_columns(pl.col("event_ms") + HOUR_MS, arrival=pl.Series(arrival))

    def _spoilt(self, spoilers: Mapping[str, Spoiler], numbers: range) -> pl.DataFrame:
        sound = self._messages(self._newer(len(numbers)))
        broken = spoil(sound["value"].to_list(), spoilers, numbers)
        return sound.with_columns(value=pl.Series(broken, dtype=pl.Binary))

    def _messages(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events as a sound producer writes them."""
        order = events["order"]
        parts = pl.DataFrame(
            {
                "key": self._orders["order_id"].gather(order),
                "head": self._orders["head"].gather(order),
                "event_time": moments(events["event_ms"].to_numpy()),
                "middle": self._orders["middle"].gather(order),
                "status": events["status"],
                "tail": self._orders["tail"].gather(order),
                "arrival": events["arrival"],
            }
        )
        text = pl.concat_str("head", "event_time", "middle", "status", "tail").cast(pl.Binary)
        return parts.select("key", text.alias("value"), "arrival")
