"""`python -m dagster_project.launcher.code_server`: Dagster's server of definitions, with the arguments that it has.

Asked to end (SIGTERM), it answers the requests that it has, and takes no more. Two may listen on one port, as the kernel
shares out the connections: a new release starts beside the old one, which is then asked to end.
"""

import signal
from typing import Any

from dagster_project.launcher import command


def main() -> None:
    _drain()
    command.main()


def _drain() -> None:
    """Have SIGTERM do what Dagster's own request to shut down does, instead of cutting off who waits for an answer."""
    from dagster._grpc.server import DagsterGrpcServer  # noqa: PLC0415 takes seconds, which an import should not

    serve = DagsterGrpcServer.serve

    def draining(self: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._api_servicer.ShutdownServer(None, None))
        serve(self)

    DagsterGrpcServer.serve = draining


if __name__ == "__main__":
    main()
