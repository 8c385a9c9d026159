"""What may happen to a node beyond what `faults.steps` has, each a value: printed, drawn and applied alike.

An act that cannot happen at the moment does nothing.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from testkit.services.attribute_files import gone, io_error, refused, text, vanished
from tools.benchmarks.client import Connection
from tools.faults.steps import Step
from tools.soak.site import EXPORTER, Site


class Act(Protocol):
    """One thing that happens."""

    async def apply(self, site: Site) -> None:
        """Let it happen."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """A step of the fault schedules."""

    step: Step

    async def apply(self, site: Site) -> None:
        await self.step.apply(site.world)

    def __str__(self) -> str:
        return str(self.step)


# -- cards ------------------------------------------------------------------------------------------------------------


class Unreadable(StrEnum):
    """How a file cannot be read."""

    IO_ERROR = "io-error"
    REFUSED = "refused"
    GONE = "gone"
    VANISHED = "vanished"


BREAKAGES = {
    Unreadable.IO_ERROR: io_error,
    Unreadable.REFUSED: refused,
    Unreadable.GONE: gone,
    Unreadable.VANISHED: vanished,
}


@dataclass(frozen=True, slots=True)
class HideAttribute:
    """An attribute is there and cannot be read."""

    card: int
    name: str
    how: Unreadable

    async def apply(self, site: Site) -> None:
        site.world.damage(site.world.card(self.card), self.name, BREAKAGES[self.how])


@dataclass(frozen=True, slots=True)
class SetSensor:
    """A sensor reads this, whatever the card does."""

    card: int
    file: str
    says: str

    async def apply(self, site: Site) -> None:
        site.override(site.world.card(self.card), self.file, text(self.says.encode() + b"\n"))


@dataclass(frozen=True, slots=True)
class HideSensor:
    """A sensor cannot be read."""

    card: int
    file: str
    how: Unreadable

    async def apply(self, site: Site) -> None:
        site.override(site.world.card(self.card), self.file, BREAKAGES[self.how])


# -- the kubelet ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KubeletAway:
    """There is none for longer than most things are patient."""

    seconds: float

    async def apply(self, site: Site) -> None:
        await site.world.stop_kubelet()
        await asyncio.sleep(self.seconds)
        await site.world.start_kubelet()


# -- the feature file -------------------------------------------------------------------------------------------------


def _removed(path: Path) -> None:
    path.unlink(missing_ok=True)


def _changed(path: Path) -> None:
    path.write_text("beta.furiosa.ai/npu.count=99\n")


def _hidden(path: Path) -> None:
    if path.exists():
        path.chmod(0)


class Meddling(StrEnum):
    """What somebody does to the feature file."""

    REMOVE = "remove"
    CHANGE = "change"
    HIDE = "hide"


_MEDDLINGS: dict[Meddling, Callable[[Path], None]] = {
    Meddling.REMOVE: _removed,
    Meddling.CHANGE: _changed,
    Meddling.HIDE: _hidden,
}


@dataclass(frozen=True, slots=True)
class Meddle:
    """Somebody else has to do with the feature file."""

    how: Meddling

    async def apply(self, site: Site) -> None:
        site.counts["times that somebody meddled with the feature file"] += 1
        _MEDDLINGS[self.how](site.feature_file)


# -- scrapers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many scrapers at the same moment; some may be turned away."""

    scrapers: int

    async def apply(self, site: Site) -> None:
        answers = await asyncio.gather(*(asyncio.to_thread(_ask, site.ports[EXPORTER]) for _ in range(self.scrapers)))
        for status in answers:
            site.counts[f"scrapes in a crowd, answer {status}"] += 1
        if set(answers) - {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
            site.report(f"a crowd of scrapers was answered {sorted(answers)}")


def _ask(port: int) -> int:
    try:
        with Connection(port, gzip=True) as connection:
            return connection.get().status
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class Hang:
    """Scrapers that ask, or begin to, and then neither read nor go for a while."""

    scrapers: int
    asks: str
    seconds: float

    async def apply(self, site: Site) -> None:
        taken = [
            socket.create_connection(("127.0.0.1", site.ports[EXPORTER]), timeout=5.0) for _ in range(self.scrapers)
        ]
        site.counts["scrapers that hung"] += self.scrapers
        for each in taken:
            each.sendall(self.asks.encode())
        await asyncio.sleep(self.seconds)
        for each in taken:
            each.close()


# -- the services -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HangUp:
    """Somebody asks a service to look at everything anew, where it knows how to."""

    service: str

    async def apply(self, site: Site) -> None:
        site.process(self.service).hang_up()


@dataclass(frozen=True, slots=True)
class RestartService:
    """Another process takes the place of one that was killed, or asked to end."""

    service: str
    kill: bool

    async def apply(self, site: Site) -> None:
        await site.restart(self.service, kill=self.kill)
