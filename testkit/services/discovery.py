"""The real feature discovery, as a process, on a simulated host; and the directory that nfd-worker would read."""

import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from npu_core.testing import CardPlan, FakeHost
from testkit.services.process import ServiceProcess, environment_of
from testkit.waiting import PATIENCE, eventually

PREFIX = "beta.furiosa.ai/"
FILE_NAME = "furiosa-npu-feature-discovery"


class DiscoveryProcess(ServiceProcess):
    """``npu-feature-discovery``. Used as ``async with DiscoveryProcess(host, features_d) as discovery:``."""

    def __init__(
        self,
        host: FakeHost,
        features_d: Path,
        options: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        run_as: int | None = None,
    ) -> None:
        """A discovery that looks at ``host`` and writes into ``features_d``; an option of ``options`` comes last."""
        arguments = ["--output-file", str(features_d / FILE_NAME), *options]
        super().__init__("npu_feature_discovery", arguments, environment_of(host) | dict(environment or {}), run_as)


class LabelledNode:
    """A machine with cards and a ``features.d``. Used as ``async with LabelledNode(warboy(0)) as node:``.

    Attributes:
        host: the cards.
        features_d: the directory that nfd-worker reads.
    """

    def __init__(self, *cards: CardPlan) -> None:
        """A machine with these cards; nothing runs on it yet."""
        self.home = Path(tempfile.mkdtemp(prefix="d-"))
        # Also for somebody who is not the one that made it.
        self.home.chmod(0o755)
        self.host = FakeHost(self.home / "host", *cards)
        self.features_d = self.home / "features.d"
        self.features_d.mkdir()
        self._processes: list[DiscoveryProcess] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.home)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def file(self) -> Path:
        """The feature file."""
        return self.features_d / FILE_NAME

    @property
    def discovery(self) -> DiscoveryProcess:
        """The discovery that was started last."""
        return self._processes[-1]

    async def start(
        self, *options: str, environment: Mapping[str, str] | None = None, run_as: int | None = None
    ) -> DiscoveryProcess:
        """Start a discovery; returns before it has done anything."""
        process = DiscoveryProcess(self.host, self.features_d, options, environment, run_as)
        self._processes.append(process)
        return await self._stack.enter_async_context(process)

    async def up(self, *options: str) -> Self:
        """Start a discovery; returns when it has published."""
        await self.start(*options)
        await self.discovery.until_logged("published", PATIENCE)
        return self

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: if it does not in time.
        """
        await eventually(holds, "what the test waits for")

    def written(self) -> tuple[int, bytes]:
        """Differs between a feature file and the next one; not for one that was read, or whose time was set."""
        return self.file.stat().st_ino, self.file.read_bytes()

    def mode(self) -> int:
        """Of the feature file."""
        return stat.S_IMODE(self.file.stat().st_mode)

    def labels(self) -> dict[str, str]:
        """What the file says, without the prefix of the keys; nothing if there is no file."""
        try:
            lines = self.file.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return {}
        pairs = (line.partition("=") for line in lines)
        return {key.removeprefix(PREFIX): value for key, _, value in pairs}

    async def until_labelled(self, **labels: str | None) -> None:
        """Wait until the file has these labels, ``npu_count="2"``, None for one it must not have.

        Raises:
            AssertionError: if it does not in time.
        """
        wanted = {key.replace("_", "."): value for key, value in labels.items()}
        await eventually(lambda: all(self.labels().get(key) == value for key, value in wanted.items()), f"{wanted}")
