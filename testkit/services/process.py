"""A service of ours as a process, and what it logs."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from npu_core.testing import FakeHost
from testkit.waiting import PATIENCE

STOPPED = 2.0
"""Seconds from a signal to the end of the process."""
_BETWEEN_LOOKS = 0.005
_FILLER = b"~\n"
"""A line that fills a pipe; it is no line of a log."""


class ServiceProcess:
    """One of our services as operators run it. Used as ``async with ... as service:``.

    A process that still runs at the end of the block must stop clean, and without having logged a traceback.

    Attributes:
        log: what it wrote so far, a line each.
        before: what the command line begins with, as ``("prlimit", "--nofile=256")``; for the next start.
        patience: seconds that it may take to end before it is killed.
    """

    def __init__(
        self, module: str, arguments: Iterable[str], environment: Mapping[str, str], run_as: int | None = None
    ) -> None:
        """A process that is not started yet.

        Args:
            module: the service's, as ``python -m`` takes it.
            arguments: its command line.
            environment: all of its environment; see :func:`environment_of`.
            run_as: user and group of a process that may do nothing but what they may; None for ours. Needs root.
        """
        self.log: list[str] = []
        self.before: tuple[str, ...] = ()
        self.patience = PATIENCE
        self._module = module
        self._program = ("-m", module)
        self._is_unread = False
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._run_as = run_as
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._logged = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.running:
            return
        status = await self.stop()
        # A test that has failed already is to say its own reason.
        if kind is None:
            assert status == 0, f"it ended with status {status}"
            assert not [line for line in self.log if line.startswith("Traceback")], "it logged a traceback"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def sockets(self) -> list[str]:
        """The sockets it has open, as /proc names them."""
        links = [str(entry.readlink()) for entry in Path(f"/proc/{self.pid}/fd").iterdir()]
        return [link for link in links if link.startswith("socket:")]

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            *self.before,
            *(_as_user(self._run_as) if self._run_as is not None else ()),
            sys.executable,
            *self._program,
            *self._arguments,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read_log())

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait until it has; returns its exit status.

        Raises:
            TimeoutError: if it does not end, in which case it is killed.
        """
        assert self._process is not None
        self._process.send_signal(number)
        try:
            async with asyncio.timeout(self.patience):
                # Not process.wait(): newer Pythons also wait for a pipe that nobody reads.
                while self._process.returncode is None:  # noqa: ASYNC110  # there is no event for it
                    await asyncio.sleep(_BETWEEN_LOOKS)
            status = self._process.returncode
        except TimeoutError:
            self._process.kill()
            raise
        finally:
            self.read_log_again()
            if self._reader is not None:
                await self._reader
        return status

    def stop_reading_log(self) -> None:
        """Read its log no more, and fill the pipe, so that the next line that it writes would have to wait."""
        self._pipe().pause_reading()
        self._is_unread = True
        # Opened anew, so that only this process does not wait for the pipe.
        pipe = os.open(f"/proc/{self.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for filler in (_FILLER * 256, _FILLER):
                with contextlib.suppress(BlockingIOError):
                    while os.write(pipe, filler):
                        pass
        finally:
            os.close(pipe)

    def read_log_again(self) -> None:
        """Read its log, if it was not read."""
        if self._is_unread:
            self._is_unread = False
            self._pipe().resume_reading()

    def lose_log(self) -> None:
        """Close the reading end of its log, so that it can write none of its lines any more."""
        self._pipe().close()

    def _pipe(self) -> asyncio.ReadTransport:
        assert self._process is not None
        pipe = self._process._transport.get_pipe_transport(2)  # type: ignore[attr-defined]  # nothing public leads to it
        assert isinstance(pipe, asyncio.ReadTransport)
        return pipe

    def hang_up(self) -> None:
        """Ask it to look at everything anew."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def wait(self) -> int:
        """Wait until it ends by itself; returns its exit status."""
        assert self._process is not None
        assert self._reader is not None
        await self._reader
        return await self._process.wait()

    def logged(self, text: str) -> list[str]:
        """The lines so far that contain ``text``."""
        return [line for line in self.log if text in line]

    async def until_logged(self, text: str, within: float, *, times: int = 1) -> str:
        """Wait for that many lines that contain ``text``; returns the last one of them.

        Raises:
            AssertionError: if there are fewer after ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within):
                while len(lines := self.logged(text)) < times:
                    await self._logged.wait()
        except TimeoutError:
            raise AssertionError(f"not logged {times} times within {within} s: {text!r}") from None
        return lines[times - 1]

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode().rstrip()
            if text == _FILLER.decode().rstrip():
                continue
            # pytest shows this with a test that failed.
            sys.stderr.write(f"{self._module} {self.pid}: {text}\n")
            self.log.append(text)
            self._logged.set()
            self._logged = asyncio.Event()


def _as_user(number: int) -> list[str]:
    """What a command line begins with to give up every right; but for reading, where Python itself is out of reach."""
    command = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "--no-new-privs"]
    places = (Path(sys.executable).resolve(), Path(os.__file__), Path(__file__))
    if all(parent.stat().st_mode & stat.S_IXOTH for place in places for parent in place.parents):
        return [*command, "--bounding-set=-all", "--inh-caps=-all"]
    read = "-all,+dac_read_search"
    return [*command, f"--bounding-set={read}", f"--inh-caps={read}", f"--ambient-caps={read}"]


def environment_of(host: FakeHost) -> dict[str, str]:
    """This process's environment, without settings of ours but for where the host is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NPU_") and name != "NODE_NAME"}
    return kept | {"NPU_SYSFS": host.sysfs, "NPU_DEVFS": host.devfs, "PYTHONWARNINGS": "error"}
