"""A process ends with its supervisor, however that one ends: nobody else holds the other end of its standard input."""

from __future__ import annotations

import os
import signal
import threading
import time

# Says that there is a supervisor; a process that a person or a container's engine started has none.
_VARIABLE = "LAKEHOUSE_SUPERVISED"
SUPERVISED = {_VARIABLE: "1"}
# The code server takes up to a minute for the requests that it has. One that is asked while it still starts may not hear of it.
_GRACE_S = 90.0


def end_with_supervisor() -> None:
    """Have this process asked to end (SIGTERM) when its supervisor is gone. Not its children, which it looks after itself."""
    if os.environ.pop(_VARIABLE, ""):
        threading.Thread(target=_wait, name="guard", daemon=True).start()


def _wait() -> None:
    os.read(0, 1)  # nothing is ever written: this is the end of the pipe
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)
