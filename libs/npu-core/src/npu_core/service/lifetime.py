"""Signals that end a service, held back until somebody listens.

A signal that comes before its handler is there is lost where we are the first process of a container, and the pod then
takes its whole grace to end. So they wait from the first line on, through the start of the daemon in the command line's
place, until the daemon has its handlers.
"""

import signal
from collections.abc import Iterable

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a service, clean."""

WITH_HANGUP = (*END_SIGNALS, signal.SIGHUP)
"""Those, and the one that asks a service that takes it to look again. Unheld, it ends a process."""


def hold_signals(numbers: Iterable[signal.Signals] = END_SIGNALS) -> None:
    """Let these signals wait, in this thread and those it starts from now on, and across an exec."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def release_signals(numbers: Iterable[signal.Signals] = END_SIGNALS) -> None:
    """Deliver them, those that waited included."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
