"""All that is configured, connected to and asked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from pydantic import SecretStr

from dagster_project.alerts import config as alerts
from dagster_project.connections import postgres, store
from dagster_project.connections.connection import Outcome, ask_all, wrong
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.cost.prices import load_prices
from dagster_project.errors import CacheError, ConfigurationError, LakehouseError
from dagster_project.lake.storage import Storage
from dagster_project.refine.pseudonyms import Keyring
from dagster_project.registry.schemas import Registry
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.services.registry import is_needed, registry_url
from dagster_project.serving.cache import Cache
from dagster_project.settings import Settings, pseudonym_keys
from dagster_project.topics.broker import Broker
from dagster_project.variables.files import OF_LIBRARIES, folder_of
from dagster_project.variables.variables import NAMES, Url, Variables


def check() -> list[Outcome]:
    """Ask everything that this process's variables name; nothing is changed, but for one object that comes and goes."""
    try:
        variables, settings = Variables.read(), Settings.from_environment()
    except LakehouseError as error:
        return [wrong("settings", error)]
    secrets = _secrets(variables)
    catalog, contracts = _contracts(settings)
    questions: dict[str, Callable[[], str]] = {
        "kafka": partial(_kafka, settings, variables, catalog),
        "schema registry": partial(_registry, settings, catalog),
        "lake": partial(store.try_out, Storage.at(settings.lake_uri), variable="LAKEHOUSE_URI"),
        "cache": partial(_cache, settings),
        "postgres": partial(_postgres, variables),
        "compute logs": partial(_compute_logs, variables),
        "pseudonym keys": partial(_pseudonyms, catalog),
        "alerts": partial(_alerts, settings),
        "prices": partial(_prices, settings),
        "secret files": _files,
    }
    first = Outcome(name="settings", state="ok", seen=f"profile {settings.profile}, project {settings.project}")
    return [first, contracts, *ask_all(questions, secrets=secrets)]


def _contracts(settings: Settings) -> tuple[Catalog, Outcome]:
    try:
        catalog = load_catalog(settings.contracts)
    except LakehouseError as error:
        return Catalog(datasets=(), marts=()), wrong("contracts", error)
    seen = f"{len(catalog.datasets)} datasets and {len(catalog.marts)} marts in {settings.contracts}"
    return catalog, Outcome(name="contracts", state="ok", seen=seen)


def _kafka(settings: Settings, variables: Variables, catalog: Catalog) -> str:
    servers = bootstrap_servers(settings)
    broker = Broker(servers)
    cluster = broker.cluster_id()
    wanted = sorted({dataset.topic.name for dataset in catalog.datasets})
    there = broker.topics(wanted)
    missing = [name for name in wanted if name not in there]
    protocol = variables.kafka_security_protocol
    who = f" as {variables.kafka_sasl_username!r}" if protocol.startswith("SASL") else ""
    topics = f"{len(there)} of the contracts' {len(wanted)} topics"
    absent = f"; `lakehouse topics apply` makes {', '.join(missing)}" if missing else ""
    return f"cluster {cluster} at {servers}{who}, {protocol}: {topics}{absent}"


def _registry(settings: Settings, catalog: Catalog) -> str:
    if not settings.schema_registry_url and not is_needed(catalog.datasets):
        return ""
    url = Url(registry_url(settings))
    return f"{url}: {len(Registry(url.get_secret_value()).subjects())} subjects"


def _cache(settings: Settings) -> str:
    cache = Cache.of(settings)
    if not cache.there:
        return ""
    try:
        cache.ask(lambda client: client.ping())
    except CacheError as error:
        # What is to be done for the data is nothing; here somebody asks about the cache itself.
        remedy = "start it, or correct REDIS_URL" if error.remedy.startswith("nothing") else error.remedy
        raise CacheError(error.found, expected=error.expected, remedy=remedy) from error
    return cache.address


def _postgres(variables: Variables) -> str:
    url = variables.dagster_postgres_url.get_secret_value()
    return postgres.ask(url) if url else ""


def _compute_logs(variables: Variables) -> str:
    uri = variables.lakehouse_compute_logs.rstrip("/")
    return store.try_out(Storage.at(uri), variable="LAKEHOUSE_COMPUTE_LOGS") if uri else ""


def _pseudonyms(catalog: Catalog) -> str:
    columns = (column for dataset in catalog.datasets for column in dataset.columns)
    if not pseudonym_keys() and not any(column.protection == "pseudonymise" for column in columns):
        return ""
    first, *others = Keyring.load().keys
    return f"{first.name!r} makes pseudonyms" + (
        f", and made some before: {', '.join(key.name for key in others)}" if others else ""
    )


def _alerts(settings: Settings) -> str:
    return f"sinks: {', '.join(alerts.load(settings.project).sinks)}"


def _prices(settings: Settings) -> str:
    if settings.prices is None:
        return ""
    load_prices(settings.prices)
    return str(settings.prices)


def _files() -> str:
    """Files whose name nobody knows, such as one with a typing mistake."""
    folder = folder_of(os.environ)
    if folder is None:
        return ""
    names = sorted(path.name for path in folder.iterdir() if path.name.isidentifier())
    for name in names:
        if name not in NAMES and not name.startswith(OF_LIBRARIES) and (near := difflib.get_close_matches(name, NAMES)):
            raise ConfigurationError(
                f"{folder / name}: no variable has this name",
                expected=" or ".join(near),
                remedy="give the file the name of the variable that it is for, or take it away",
            )
    return f"{folder}: {', '.join(names)}"


def _secrets(variables: Variables) -> list[str]:
    """What no outcome may hold. URLs are shown without their secrets by us, but by libraries as they like."""
    found: set[str] = set()
    for _, value in variables:
        match value:
            case SecretStr():
                found.add(value.get_secret_value())
            case Url():
                logged_in = value.get_secret_value().partition("://")[2].rpartition("@")[0]
                password = logged_in.partition(":")[2]
                found |= {logged_in, password, unquote(password)}
            case _:
                pass
    return sorted(found - {""}, key=len, reverse=True)
