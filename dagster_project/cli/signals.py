"""What ends a command that has started processes."""

import signal


def end_as_ctrl_c() -> None:
    """Have SIGTERM end this command as Ctrl-C does, and SIGINT too where a shell's `&` has it ignored.

    Otherwise the first would end it at once and leave behind what it has started, and the second would do nothing.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
