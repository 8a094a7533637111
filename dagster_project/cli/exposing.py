"""Options of commands that listen where others may reach them. The token is none: commands are there for all to see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TlsCert = Annotated[
    Path | None, typer.Option(help="A PEM file with a certificate: it is spoken to over TLS.", dir_okay=False)
]
TlsKey = Annotated[Path | None, typer.Option(help="A PEM file with the certificate's key.", dir_okay=False)]
BehindTls = Annotated[bool, typer.Option("--behind-tls", help="A proxy that speaks TLS is the only one to reach it.")]
