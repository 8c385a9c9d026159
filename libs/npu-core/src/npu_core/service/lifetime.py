"""Signals of a service, held back until somebody listens, and the end of its process.

A signal that comes before its handler is there is lost where we are the first process of a container, and the pod then
takes its whole grace to end. So the first line of each service holds them back (``entry.py``). They wait through the
start of the daemon in the command line's place, until the daemon has its handlers. A signal that comes before that
first line, while the interpreter itself starts, is lost: no Python program can hold it back.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a service, clean."""

LOOK_AGAIN = signal.SIGHUP
"""What asks a service to look at everything again, its files included."""

BLOCKED_SIGNALS = (*END_SIGNALS, LOOK_AGAIN)
"""Those that a service holds back from its first line on."""


def unblock_signals(numbers: Iterable[signal.Signals] = BLOCKED_SIGNALS) -> None:
    """Deliver them, those that waited included."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def leave(status: int) -> NoReturn:
    """End the process with this exit status, as :func:`sys.exit` does, whatever its threads do at this moment.

    The handlers of :mod:`atexit` run, and what was printed is written. No thread is waited for.

    When the interpreter ends by itself, a thread that comes back from a library is unwound. Libraries in Rust and C++,
    as bcrypt and gRPC, cannot be unwound: then the process ends by SIGABRT, after a service has stopped in good order.

    Args:
        status: 0 to 255.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # what the interpreter calls; nothing public does
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # The interpreter tells why, and ends with a status of its own.
        sys.exit(status)
    os._exit(status)
