"""A service on an event loop, until a signal ends it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from npu_core.service.lifetime import END_SIGNALS, LOOK_AGAIN, unblock_signals


class AsyncService(Protocol):
    """A service that works on an event loop."""

    def look_again(self) -> None:
        """Look at everything again, files included: SIGHUP asks for it."""

    def run(self, stopped: asyncio.Event) -> Awaitable[None]:
        """Work until ``stopped``."""


def run_until_signal(make: Callable[[], AsyncService], event_loop: str) -> None:
    """Run a service on an event loop until SIGTERM or SIGINT.

    Args:
        make: makes the service, inside of the event loop.
        event_loop: ``asyncio`` or ``uvloop``.
    """
    with asyncio.Runner(loop_factory=_factory(event_loop)) as runner:
        runner.run(_until_signal(make))


async def _until_signal(make: Callable[[], AsyncService]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    service = make()
    loop.add_signal_handler(LOOK_AGAIN, service.look_again)
    unblock_signals()
    await service.run(stopped)


def _factory(event_loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if event_loop == "asyncio":
        return None
    import uvloop  # noqa: PLC0415  # only where it was asked for

    return uvloop.new_event_loop
