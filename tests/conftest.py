"""What holds for all tests."""

import signal

# A runner in the background has Ctrl-C ignored; the commands under test would inherit that and never hear theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)
