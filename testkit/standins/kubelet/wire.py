"""The hop between the kubelet and a plugin's socket, where connections are dropped or frozen.

gRPC says goodbye whenever it closes a connection. A process that dies or hangs does not, so connections go
through a relay that can let go of them without a word, or keep them open and move nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast


class _Side(asyncio.Protocol):
    """One end of a relayed connection: what it receives, the other end sends."""

    def __init__(self, on_made: Callable[[_Side], None] | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self.lost = asyncio.Event()
        self._on_made = on_made
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        if self._on_made:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)
        else:
            self._early.append(data)

    def join(self, other: _Side) -> None:
        """Pass on what comes from now on, and what came before there was somewhere to pass it on to."""
        self.other, other.other = other, self
        self._catch_up()
        other._catch_up()

    def _catch_up(self) -> None:
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def pause_writing(self) -> None:
        if self.other:
            self.other.hold()

    def resume_writing(self) -> None:
        if self.other and self.other.transport and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        other, self.other = self.other, None
        if other and other.transport:
            other.other = None
            other.transport.close()
        self.lost.set()

    def hold(self) -> None:
        """Stop reading."""
        if self.transport and not self.transport.is_closing():
            self.transport.pause_reading()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent or read."""
        if self.transport:
            self.transport.abort()


class Relay:
    """Connections from one private socket to one plugin's socket."""

    def __init__(self, private: Path, plugin: Path) -> None:
        self.private = private
        self._plugin = plugin
        self._server: asyncio.Server | None = None
        self._sides: list[_Side] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self.frozen = False

    async def open(self) -> None:
        """Accept connections; each is passed on to the plugin's socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Side(self._accepted), str(self.private))

    def _accepted(self, near: _Side) -> None:
        near.hold()
        self._sides.append(near)
        task = asyncio.get_running_loop().create_task(self._connect(near))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, near: _Side) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_unix_connection(_Side, str(self._plugin))
        except OSError:
            near.abort()
            return
        self._sides.append(far)
        near.join(far)
        if near.transport and not near.transport.is_closing():
            near.transport.resume_reading()
        else:
            far.abort()

    def refuse_more(self) -> None:
        """The kubelet never dials a plugin twice."""
        if self._server:
            self._server.close()
            self._server = None
        self.private.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Nothing moves any more and the plugin is not told."""
        self.frozen = True
        self.refuse_more()
        for side in self._sides:
            side.hold()
            side.other = None

    def reset(self) -> None:
        """Let go of every connection without a goodbye."""
        self.refuse_more()
        for task in self._connecting:
            task.cancel()
        for side in self._sides:
            side.hold()
            side.abort()

    async def gone(self) -> None:
        """Wait until nothing of it is left, after a reset."""
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for side in self._sides:
            await side.lost.wait()


class Switchboard:
    """All relays of one stand-in, and the private directory of their sockets."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._relays: list[Relay] = []
        self._numbers = itertools.count()

    async def relay_to(self, plugin: Path) -> Relay:
        """A new relay to a plugin's socket, which need not exist yet."""
        self._directory = self._directory or Path(tempfile.mkdtemp(prefix="relay-"))
        relay = Relay(self._directory / str(next(self._numbers)), plugin)
        await relay.open()
        self._relays.append(relay)
        return relay

    async def close(self) -> None:
        """Drop everything, also what is frozen."""
        for relay in self._relays:
            relay.reset()
        for relay in self._relays:
            await relay.gone()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
