"""S3 as it is on bad days: errors, resets, silence, and answers that are lost after the server has acted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from tests.chaos.fault import Fault, Trial
from tests.chaos.proxy import Mode, Rule

_REQUESTS = {
    "data": ("PUT ", ".parquet"),
    "commit": ("PUT ", "/_delta_log/"),
}
_LAYERS = {"bronze": "/bronze/orders/", "silver": "/silver/orders/", "gold": "/gold/revenue_daily/"}
# What the client does about a silent server it does about a slow one, too; its own patience is far longer.
_SILENCE_S = 4.0
# Longer than delta-rs waits for an answer (30 s).
_TIMEOUT_S = 33.0
_OUTAGE_S = 6.0
# More often than clients try again by themselves, so that the run sees it.
_STUBBORN = 12
_STATUSES = (500, 503)


def faults() -> Iterator[Fault]:
    for layer, path in _LAYERS.items():
        for request, match in _REQUESTS.items():
            target = (*match, path)
            name = f"{layer}-{request}"
            yield Fault(name=f"s3-answer-lost-{name}", act=_rule("drop", target))
            yield Fault(name=f"s3-reset-{name}", act=_rule("reset", target))
            yield Fault(name=f"s3-silence-{name}", act=_rule("hole", target, seconds=_SILENCE_S))
            for status in _STATUSES:
                yield Fault(name=f"s3-{status}-{name}", act=_rule("error", target, status=status))
            yield Fault(name=f"s3-500-stubborn-{name}", act=_rule("error", target, times=_STUBBORN))
    yield Fault(name="s3-answer-lost-any-put", act=_rule("drop", ("PUT ",), times=5))
    yield Fault(name="s3-reset-reads", act=_rule("reset", ("GET ",), times=10))
    yield Fault(name="s3-slow", act=_rule("delay", (), times=60, seconds=0.1))
    yield Fault(
        name="s3-timeout-bronze-commit",
        act=_rule("hole", (*_REQUESTS["commit"], _LAYERS["bronze"]), seconds=_TIMEOUT_S),
    )
    yield Fault(name="s3-outage-silent", act=_outage("hole"))
    yield Fault(name="s3-outage-refusing", act=_outage("reset"))
    yield Fault(name="s3-outage-under-sensors", act=_outage("reset"), platform="daemon")
    yield Fault(
        name="s3-answer-lost-under-sensors", act=_rule("drop", ("PUT ", "/_delta_log/"), times=4), platform="daemon"
    )


def _rule(
    mode: Mode, match: tuple[str, ...], *, times: int = 1, seconds: float = 0.0, status: int = 500
) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        rule = Rule(mode=mode, match=match, times=times, seconds=seconds, status=status)
        with trial.world.proxy.rule(rule):
            # A stubborn store may outlast a run, or a run may give up earlier: one blow is enough to go on.
            trial.until(lambda: rule.hits)

    return act


def _outage(mode: Mode) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        rule = Rule(mode=mode, times=None, seconds=_OUTAGE_S)
        with trial.world.proxy.rule(rule):
            end = threading.Timer(_OUTAGE_S, lambda: setattr(rule, "lifted", True))
            end.start()
            trial.until(lambda: rule.hits and rule.lifted)
            end.join()

    return act
