"""The discovery's own HTTP endpoint, on a thread of its own: only where it was asked for, and loaded only then."""

import asyncio
import threading
import time
from collections.abc import Callable

from npu_core.os_errors import explain
from npu_core.service.http.connection import FEW
from npu_core.service.http.server import serve
from npu_core.service.http.traffic import Traffic
from npu_core.service.logs import EventLog
from npu_core.service.settings import Address
from npu_core.service.status import Families, StatusPages
from npu_feature_discovery.counters import Counters
from npu_feature_discovery.events import Event
from npu_feature_discovery.service_status import ServiceStatus

_log = EventLog(__name__)
_LISTEN_AGAIN = 10.0
"""Seconds between two attempts to get the address."""


def start(address: Address, condition: Callable[[], ServiceStatus], telemetry: Counters) -> None:
    """Answer at the address for as long as the process lives; returns at once."""
    pages = pages_of(condition, telemetry)
    threading.Thread(target=_run, args=(pages, address, telemetry.traffic), name="endpoint", daemon=True).start()


def pages_of(condition: Callable[[], ServiceStatus], telemetry: Counters) -> StatusPages:
    """The endpoint's pages."""

    def load_families() -> Families:
        from npu_feature_discovery.metrics import families  # noqa: PLC0415  # see StatusPages

        return lambda: families(condition(), telemetry, time.time())

    return StatusPages(lambda: condition().why_not_alive, lambda: condition().why_not_ready, load_families)


def _run(pages: StatusPages, address: Address, traffic: Traffic) -> None:
    try:
        asyncio.run(_serve(pages, address, traffic))
    except Exception as error:  # noqa: BLE001  # the labels matter more than this
        _log.exception(Event.ENDPOINT_ENDED, error)


async def _serve(pages: StatusPages, address: Address, traffic: Traffic) -> None:
    """Listen now, or as soon as the address can be had: no reason to leave the node without labels."""
    logged_reason = ""
    while True:
        try:
            await serve(pages, [(address.host, address.port)], traffic, FEW)
        except OSError as error:
            reason = explain(error, str(address), setting="--listen-address")
            if reason != logged_reason:
                logged_reason = reason
                _log.error(Event.CANNOT_LISTEN, address=address, reason=logged_reason)
            await asyncio.sleep(_LISTEN_AGAIN)
            continue
        _log.info(Event.LISTENING, address=address)
        await asyncio.Event().wait()
