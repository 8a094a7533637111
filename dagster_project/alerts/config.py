"""`alerts.yaml`, beside `contracts/`: where notifications go. Without the file they go to the log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dagster_project.alerts.email import Email
from dagster_project.alerts.log import Log
from dagster_project.alerts.sink import Sink
from dagster_project.alerts.webhook import Slack, Webhook
from dagster_project.contract.document import Problem, Steps, parse, refuse
from dagster_project.errors import ConfigurationError, ContractError
from dagster_project.variables.files import with_secret_files

# By type of sink: what it must have, and what it may. What ends with `From` names an environment variable with a secret.
_SINKS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "log": (frozenset(), frozenset()),
    "webhook": (frozenset(), frozenset({"url", "urlFrom", "secretFrom"})),
    "slack": (frozenset({"urlFrom"}), frozenset()),
    "email": (frozenset({"host", "from", "to"}), frozenset({"port", "security", "userFrom", "passwordFrom"})),
}
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_PORT_NUMBERS = range(1, 2**16)
_SEVERITIES = ("warning", "critical")


@dataclass(frozen=True, kw_only=True)
class Route:
    """Which alerts go to which sinks; a condition that is empty lets all pass.

    Attributes:
        domain, owner: of the dataset or mart that an alert is about.
    """

    sinks: tuple[str, ...]
    severity: str = ""
    domain: str = ""
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where notifications go.

    Attributes:
        routes: every one that fits is taken; none at all: everything goes to every sink.
        runbooks: where `docs/runbooks` are shown, a URL; empty: notifications have the path in the project.
    """

    sinks: Mapping[str, Sink]
    routes: tuple[Route, ...] = ()
    runbooks: str = ""

    def wants(self, sink: str, *, severity: str, domain: str, owners: tuple[str, ...]) -> bool:
        """Whether a sink is to hear of an alert."""
        return not self.routes or any(
            sink in route.sinks
            and route.severity in {"", severity}
            and route.domain in {"", domain}
            and route.owner in {"", *owners}
            for route in self.routes
        )


def load(project: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a project's `alerts.yaml`; what it names is in the environment or in a secret file.

    Raises:
        ConfigurationError: with the file, line, what was found and what to write instead, of every problem.
    """
    source = project / "alerts.yaml"
    if not source.exists():
        return Config(sinks={"log": Log()})
    environment = with_secret_files(environment)
    try:
        data, lines, problems = parse(source, "sinks: …")
        problems += _problems(data, environment)
        if problems:
            raise refuse(source, lines, problems)
    except ContractError as error:
        raise ConfigurationError(error.found, remedy="mend alerts.yaml; docs/alerts.md shows one") from error
    sinks = {name: _sink(spec, environment) for name, spec in data["sinks"].items()}
    routes = [
        Route(sinks=tuple(item["sinks"]), **{name: value for name, value in item.items() if name != "sinks"})
        for item in data.get("routes", [])
    ]
    return Config(sinks=sinks, routes=tuple(routes), runbooks=data.get("runbooks", ""))


def _sink(spec: Mapping[str, Any], environment: Mapping[str, str]) -> Sink:
    """A sink of a specification that has no problems."""

    def secret(name: str) -> str:
        return environment[spec[name]] if name in spec else ""

    match spec["type"]:
        case "webhook":
            return Webhook(url=spec.get("url") or secret("urlFrom"), secret=secret("secretFrom"))
        case "slack":
            return Slack(url=secret("urlFrom"))
        case "email":
            security = spec.get("security", "starttls")
            return Email(
                host=spec["host"],
                port=spec.get("port", _PORTS[security]),
                security=security,
                sender=spec["from"],
                to=tuple(spec["to"]),
                user=secret("userFrom"),
                password=secret("passwordFrom"),
            )
        case _:
            return Log()


def _problems(data: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Problem]:
    yield from _strangers(data, (), frozenset({"sinks", "routes", "runbooks"}))
    sinks = data.get("sinks")
    if not isinstance(sinks, dict) or not sinks:
        yield Problem(path=("sinks",), found=f"{sinks!r}", expected="at least one: `log: {type: log}`")
        return
    for name, spec in sinks.items():
        yield from _sink_problems(spec, ("sinks", name), environment)
    if "runbooks" in data:
        yield from _wrong(data, (), "runbooks", _is_url, "an http or https URL")
    routes = data.get("routes", [])
    if not isinstance(routes, list):
        yield Problem(path=("routes",), found=f"{routes!r}", expected="a list: `- {severity: critical, sinks: […]}`")
        return
    for index, route in enumerate(routes):
        path: Steps = ("routes", index)
        if not isinstance(route, dict):
            yield Problem(path=path, found=f"{route!r}", expected="{severity: critical, sinks: […]}")
            continue
        yield from _strangers(route, path, frozenset({"sinks", "severity", "domain", "owner"}))
        names = route.get("sinks")
        if not isinstance(names, list) or not names or not set(names) <= sinks.keys():
            yield Problem(path=(*path, "sinks"), found=f"{names!r}", expected=f"a list of some of {', '.join(sinks)}")
        yield from _wrong(route, path, "severity", _SEVERITIES.__contains__, " or ".join(_SEVERITIES))
        yield from _wrong(route, path, "domain", _is_text, "the name of a domain")
        yield from _wrong(route, path, "owner", _is_text, "an owner, as contracts name them")


def _sink_problems(spec: Any, path: Steps, environment: Mapping[str, str]) -> Iterator[Problem]:
    kind = spec.get("type") if isinstance(spec, dict) else None
    if not isinstance(kind, str) or kind not in _SINKS:
        yield Problem(path=(*path, "type"), found=f"{kind!r}", expected="one of " + ", ".join(_SINKS))
        return
    needed, optional = _SINKS[kind]
    yield from _strangers(spec, path, needed | optional | {"type"})
    for name in sorted(needed - spec.keys()):
        yield Problem(path=path, found=f"{name!r} is missing", expected=f"{name}: …")
    if kind == "webhook" and len({"url", "urlFrom"} & spec.keys()) != 1:
        yield Problem(path=path, found="not one of url and urlFrom", expected="url: …, or urlFrom: <variable>")
    for name in sorted(spec.keys() & (needed | optional)):
        if name.endswith("From"):
            yield from _variable_problems(spec, path, name, environment)
    yield from _wrong(
        spec, path, "url", _is_url, "an http or https URL without a secret; for one with a secret urlFrom: <variable>"
    )
    yield from _wrong(spec, path, "security", _PORTS.__contains__, "one of " + ", ".join(_PORTS))
    yield from _wrong(spec, path, "port", lambda port: type(port) is int and port in _PORT_NUMBERS, "a port")
    yield from _wrong(spec, path, "host", _is_text, "the name of a mail server")
    yield from _wrong(spec, path, "from", _is_address, "an e-mail address")
    yield from _wrong(
        spec,
        path,
        "to",
        lambda to: isinstance(to, list) and bool(to) and all(map(_is_address, to)),
        "a list of e-mail addresses",
    )


def _variable_problems(
    spec: Mapping[str, Any], path: Steps, name: str, environment: Mapping[str, str]
) -> Iterator[Problem]:
    variable = spec[name]
    # What the variable holds is never shown.
    if not isinstance(variable, str) or not environment.get(variable):
        yield Problem(path=(*path, name), found=f"{variable!r}", expected="the name of a variable that is set")
    elif name == "urlFrom" and not _is_url(environment[variable], secret=True):
        yield Problem(path=(*path, name), found=f"{variable} holds no URL", expected="an http or https URL in it")


def _strangers(data: Mapping[str, Any], path: Steps, known: frozenset[str]) -> Iterator[Problem]:
    for name in sorted(data.keys() - known):
        yield Problem(path=(*path, name), found="no such field", expected="one of " + ", ".join(sorted(known)))


def _wrong(
    data: Mapping[str, Any], path: Steps, name: str, is_right: Callable[[Any], bool], expected: str
) -> Iterator[Problem]:
    if name in data and not is_right(data[name]):
        yield Problem(path=(*path, name), found=f"{data[name]!r}", expected=expected)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and "@" in value and "\n" not in value and "\r" not in value


def _is_url(value: Any, *, secret: bool = False) -> bool:
    parts = urlsplit(value) if isinstance(value, str) else None
    return (
        parts is not None
        and parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and (secret or parts.password is None)
    )
