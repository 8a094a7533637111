"""A command that has started processes ends them, whichever way it is asked to end."""

import signal
import subprocess
import sys

import pytest

_PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does that starts it with `&`
from dagster_project.cli.signals import end_as_ctrl_c
end_as_ctrl_c()
try:
    print(flush=True)
    time.sleep(60)
finally:
    print("ended what it has started", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_in_the_background_ends_what_it_has_started(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.send_signal(number)

        assert command.communicate(timeout=30)[0] == "ended what it has started\n"
