"""Signals of a service, held back until somebody listens.

A signal that comes before its handler is there is lost where we are the first process of a container, and the pod then
takes its whole grace to end. So the first line of each service holds them back (``entry.py``). They wait through the
start of the daemon in the command line's place, until the daemon has its handlers. A signal that comes before that
first line, while the interpreter itself starts, is lost: no Python program can hold it back.
"""

import signal
from collections.abc import Iterable

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a service, clean."""

LOOK_AGAIN = signal.SIGHUP
"""What asks a service to look at everything again, its files included."""

HELD_SIGNALS = (*END_SIGNALS, LOOK_AGAIN)
"""Those that a service holds back from its first line on."""


def release_signals(numbers: Iterable[signal.Signals] = HELD_SIGNALS) -> None:
    """Deliver them, those that waited included."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
