"""Producers at work beside each other, and what is told of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dagster_project.cli.output import console, error_console

if TYPE_CHECKING:
    from dagster_project.settings import Settings
    from dagster_project.sources.producer import Published
    from dagster_project.sources.source import Source

_LOOK_S = 0.1  # how soon a bar moves


class Sender(threading.Thread):
    """Sends a source's events beside the pipeline, as a real producer would.

    Attributes:
        done: what was sent, at the end.
        sent: how many of its events the topic has so far.
        error: what ended it early; for the main thread to raise.
    """

    def __init__(
        self, source: Source, settings: Settings, servers: str, *, rate: float | None = None, limit: int | None = None
    ) -> None:
        super().__init__(name=f"producer of {source.dataset.name}", daemon=True)
        self.source = source
        self._arguments = (settings, servers, rate, limit)
        self.done: Published | None = None
        self.sent = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        from dagster_project.services.registry import registry_of
        from dagster_project.sources.encoding import encoder_of
        from dagster_project.sources.producer import publish
        from dagster_project.sources.salting import keying_of

        settings, servers, rate, limit = self._arguments
        dataset = self.source.dataset
        try:
            self.done = publish(
                self.source,
                topic=dataset.topic.name,
                bootstrap=servers,
                progress_group=self.source.progress_group,
                home=settings.home,
                rate=rate,
                limit=limit,
                encode=encoder_of(dataset, registry=registry_of(dataset, settings)),
                keying=keying_of(dataset),
                report=self._report,
            )
        except BaseException as error:  # noqa: BLE001 raised again in the main thread
            self.error = error

    def _report(self, there: int) -> None:
        self.sent = there


def send_all(senders: Sequence[Sender], totals: Sequence[int]) -> list[Published]:
    """Run them all to their ends, with a bar for each one.

    Raises:
        LakehouseError: what ended one of them; the others end with the command, and go on at the next call.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console) as bars:
        tasks = [
            bars.add_task(sender.source.dataset.topic.name, total=total)
            for sender, total in zip(senders, totals, strict=True)
        ]
        for sender in senders:
            sender.start()
        going = True
        while going:
            going = any(sender.is_alive() for sender in senders)
            for sender, task, total in zip(senders, tasks, totals, strict=True):
                if sender.error is not None:
                    raise sender.error
                bars.update(task, completed=min(sender.sent, total))
            if going:
                time.sleep(_LOOK_S)
    return [sender.done for sender in senders if sender.done is not None]


def figures(done: Published) -> dict[str, object]:
    """What was sent, for programs."""
    return {
        "topic": done.topic,
        "produced": done.produced,
        "skipped": done.skipped,
        "seconds": round(done.seconds, 3),
        "events_per_s": round(done.produced / done.seconds),
        "oracle": done.oracle,
    }


def tell(done: Published) -> None:
    """What was sent, for people."""
    there = f", {done.skipped:,} were there already" if done.skipped else ""
    speed = f"{done.seconds:.1f} s, {done.produced / done.seconds:,.0f} a second"
    console.print(f"{done.topic}: {done.produced:,} events sent{there} ({speed})", markup=False, soft_wrap=True)
    console.print(f"  oracle: {done.oracle}", markup=False, soft_wrap=True)
