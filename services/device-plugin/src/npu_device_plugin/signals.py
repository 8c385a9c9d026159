"""Signals that end the process, held back until somebody listens.

A signal that comes before its handler is there is lost where we are the first process of a container, and the pod then
takes its whole grace to end. So they wait from the first line on, through the start of the daemon in the command line's
place, until the daemon has its handlers.
"""

import signal

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def hold_signals() -> None:
    """Let the signals that end the process wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)


def release_signals() -> None:
    """Deliver them, those that waited included."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
