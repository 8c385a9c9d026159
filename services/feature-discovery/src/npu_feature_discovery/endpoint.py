"""The discovery's own HTTP endpoint, on a thread of its own: only where it was asked for, and loaded only then."""

import asyncio
import threading
import time
from collections.abc import Callable

from npu_core.os_errors import explain
from npu_core.service.http.connection import FEW
from npu_core.service.http.messages import Answer, verdict
from npu_core.service.http.pages import FixedPages, Page
from npu_core.service.http.server import serve
from npu_core.service.http.traffic import Traffic
from npu_core.service.logs import EventLog
from npu_core.service.settings import Address
from npu_feature_discovery.condition import Condition
from npu_feature_discovery.events import Event
from npu_feature_discovery.metrics import CONTENT_TYPE, exposition
from npu_feature_discovery.telemetry import Telemetry

_log = EventLog(__name__)
_LISTEN_AGAIN = 10.0
"""Seconds between two attempts to get the address."""


def start(address: Address, condition: Callable[[], Condition], telemetry: Telemetry) -> None:
    """Answer at the address for as long as the process lives; returns at once."""
    pages = FixedPages(pages_of(condition, telemetry))
    threading.Thread(target=_run, args=(pages, address, telemetry.traffic), name="endpoint", daemon=True).start()


def pages_of(condition: Callable[[], Condition], telemetry: Telemetry) -> dict[str, Page]:
    """The endpoint's pages."""
    return {
        "/healthz": lambda: _health(condition()),
        "/readyz": lambda: _readiness(condition()),
        "/metrics": lambda: _metrics(condition(), telemetry),
    }


def _run(pages: FixedPages, address: Address, traffic: Traffic) -> None:
    try:
        asyncio.run(_serve(pages, address, traffic))
    except Exception as error:  # noqa: BLE001  # the labels matter more than this
        _log.exception(Event.ENDPOINT_ENDED, error)


async def _serve(pages: FixedPages, address: Address, traffic: Traffic) -> None:
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


def _health(condition: Condition) -> Answer:
    return verdict(condition.alive, "alive", condition.objection)


def _readiness(condition: Condition) -> Answer:
    return verdict(condition.ready, "the labels are published", condition.objection)


def _metrics(condition: Condition, telemetry: Telemetry) -> Answer:
    return Answer(exposition(condition, telemetry, time.time()), content_type=CONTENT_TYPE)
