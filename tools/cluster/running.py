"""A program of the node: started in the node's namespaces, and ended by its process id."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster.keeper import children
from tools.cluster.programs import program

_PATIENCE = 20.0


def inside(first: int) -> list[str]:
    """The start of a command line that enters the namespaces of a node's first process."""
    return [program("nsenter"), "--target", str(first), "--mount", "--net", "--pid", "--ipc", "--uts", "--"]


class Running:
    """One program. It can be started again after it has ended.

    Attributes:
        name: for its log and for messages.
        log: the file that gets what it says.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Not started yet."""
        self.name = name
        self.log = log
        log.touch()
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, first: int) -> None:
        """Start it in the namespaces of that process."""
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*inside(first), *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and by SIGKILL if that is not enough."""
        deadline = time.monotonic() + _PATIENCE
        while self.alive:
            self._signal(number if time.monotonic() < deadline else signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert self._process is not None
                self._process.wait(0.5)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        # nsenter waits outside for its only child, which is the program.
        for child in children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
