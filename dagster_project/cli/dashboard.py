"""`lakehouse dashboard`: the live page, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from dagster_project.cli.exposing import BehindTls, TlsCert, TlsKey
from dagster_project.cli.output import error_console, progress
from dagster_project.cli.signals import end_as_service
from dagster_project.settings import Settings

_PORT = 3001  # beside Dagster's UI


def dashboard(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than this machine's own needs a token and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="By default 3001, or a free one.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A name under which the page is reached; may be repeated.")
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    behind_tls: BehindTls = False,
) -> None:
    """Show on one page how all data are doing, live, until Ctrl-C; where LAKEHOUSE_DASHBOARD_TOKEN is set, to whom has it."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.dashboard.access import Access, named
    from dagster_project.dashboard.server import serve
    from dagster_project.services.ports import free_port, is_free
    from dagster_project.variables.variables import Variables

    end_as_service()
    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    access = Access(
        host=host,
        token=Variables.read().lakehouse_dashboard_token.get_secret_value(),
        names=named(name or ()),
        certificate=tls_cert,
        key=tls_key,
        behind_tls=behind_tls,
    )
    chosen = port or (_PORT if is_free(_PORT) else free_port())
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if tls_cert is None else "https"
    error_console.print(f"The page: {scheme}://{shown}:{chosen}", style="bold green", markup=False, soft_wrap=True)
    progress("Ctrl-C ends")
    serve(catalog, settings=settings, access=access, port=chosen)
