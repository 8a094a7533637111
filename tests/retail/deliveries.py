"""One world, delivered in every way: in order, shuffled, doubled and late, at once, in many batches, and made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dagster_project.sources.retail.transport import Transport
from dagster_project.sources.retail.world import World
from tests.retail.judge import different, judged, problems
from tests.retail.marts import MARTS
from tests.retail.shop import Shop

IN_ORDER = Transport(order="time", duplicates=0, late=0, poison=0)
SHUFFLED = Transport(order="whole", duplicates=0, late=0, poison=0)
TROUBLED = Transport(order="known", duplicates=0.05, late=0.05, poison=0.005)


def compare(
    world: World,
    *,
    home: Path,
    servers: str,
    registry: str,
    batches: int,
    track: Callable[[Iterator[int]], Iterable[int]],
    report: Callable[[str], object],
) -> dict[str, Any]:
    """Deliver, judge each against its oracle, and compare them with each other.

    Returns:
        `events`, `marts` by name with their rows, and `problems`: empty if all is as it must be.
    """
    wrong: list[str] = []

    def judge(name: str, shop: Shop) -> None:
        found = [f"{name}: {problem}" for problem in problems(shop)]
        report(f"{name}: {'equal to the oracle' if not found else '; '.join(found)}")
        wrong.extend(found)

    def opened(name: str, transport: Transport) -> Shop:
        shop = Shop.open(home / name.replace(" ", "-"), servers=servers, registry=registry)
        for _ in shop.deliver(world, transport, batches=1):
            judge(name, shop)
        return shop

    in_order, shuffled = opened("in order", IN_ORDER), opened("shuffled", SHUFFLED)
    several = Shop.open(home / "several", servers=servers, registry=registry)
    for _ in track(several.deliver(world, TROUBLED, batches=batches)):
        pass
    judge("duplicated and late", several)
    once = several.beside(home / "once")
    once.catch_up()
    judge("in one batch", once)
    marts = several.marts()
    for name, other, facts in (
        ("shuffled", shuffled.marts(), True),
        ("duplicated and late", marts, True),
    ):
        wrong += [f"{name}: {mart} tells of other facts" for mart in different(in_order.marts(), other, facts=facts)]
    wrong += [f"in one batch: {mart} is another one" for mart in different(marts, once.marts(), facts=False)]
    rebuilt = several.rebuild()
    wrong += [f"made again: {step.table} has changed" for step in rebuilt if step.changed]
    wrong += [f"made again: {mart} is another one" for mart in different(marts, several.marts(), facts=False)]
    judge("made again", several)
    wrong += [f"{mart} has no oracle" for mart in judged(several.catalog) - MARTS.keys()]
    return {
        "events": sum(len(frame) for frame in several.deliveries().values()),
        "batches": batches,
        "marts": {name: len(rows) for name, rows in marts.items()},
        "problems": wrong,
    }
