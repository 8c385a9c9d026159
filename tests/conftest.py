"""What every test may rely on."""

import signal


def pytest_configure() -> None:
    """Let SIGINT and SIGHUP reach the programs that tests start.

    A shell has the first ignored in what it runs in the background, nohup the second, and programs inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
