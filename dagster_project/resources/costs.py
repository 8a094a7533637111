"""What a run costs, as a Dagster resource."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from dagster_project.cost.prices import load_prices
from dagster_project.cost.recorder import Recorder
from dagster_project.lake.storage import Storage


class CostsResource(dg.ConfigurableResource[Recorder]):
    """Counts what the assets of a run take, and writes it to the lake when the run ends, however it ends.

    Attributes:
        uri: root of the lake.
        prices: a price book of the project's own; empty for the package's.
    """

    uri: str
    prices: str = ""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Recorder]:
        run = context.run
        prices = load_prices(Path(self.prices) if self.prices else None)
        if run is None:  # what a person tries out beside all runs is nobody's cost
            yield Recorder("", prices=prices)
            return
        recorder = Recorder(f"run/{run.job_name}", prices=prices)
        try:
            yield recorder
        finally:
            # What goes wrong here Dagster tells of, and the run stays what it is: its tables are written, or its own error says
            # why not.
            recorder.close(run_id=run.run_id, storage=Storage.at(self.uri))
