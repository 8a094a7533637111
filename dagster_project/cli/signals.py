"""What ends a command that has started processes, and one that is a service."""

import signal
import sys


def end_as_ctrl_c() -> None:
    """Have SIGTERM end this command as Ctrl-C does, and SIGINT too where a shell's `&` has it ignored.

    Otherwise the first would end it at once and leave behind what it has started, and the second would do nothing.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def end_as_service() -> None:
    """Have SIGTERM end this command with what it holds given back, and with code 0: so services are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
