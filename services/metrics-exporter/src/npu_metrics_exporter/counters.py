"""What the exporter counts about itself: plain numbers, whether or not anybody scrapes them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from npu_core.config.reload import ConfigState
from npu_core.errors import Reason
from npu_core.service import standard_error
from npu_core.service.grpc_codes import GRPC_CODES
from npu_core.service.histogram import Histogram
from npu_core.service.http.traffic import Traffic
from npu_core.threads import NO_THREAD

COLLECT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: upper bounds of the buckets that collections are counted in. A stuck card makes one last two."""

READ_FAILURES = (*map(str, Reason), "unforeseen")
"""Why a value could not be read. The last reason is a fault of this program."""

SCRAPE_STATUSES = (
    HTTPStatus.OK,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""The HTTP statuses with which the exporter answers scrapes."""

NO_SOCKET = "NO_SOCKET"
"""Error code of a request that was not sent, because the kubelet has no socket."""

UNFORESEEN = "UNFORESEEN"
"""Error code of a request that failed through a fault of this program."""

QUESTION_FAILURES = (NO_SOCKET, NO_THREAD, UNFORESEEN, *GRPC_CODES)
"""Error codes of failed requests to the kubelet."""


@dataclass(slots=True)
class Counters:
    """Everything counted since the start.

    Attributes:
        collections: how long they took.
        read_errors: values that could not be read, by device, family and reason.
        listing_up: whether the cards could be listed the last time.
        scrapes: answers to scrapes, by status.
        in_flight: scrapes being answered now.
        dropped: series dropped, because there were too many or two of one name.
        config: how reading the settings went.
        heartbeat: wall-clock seconds of the last turn of the loop.
        traffic: clients of the server.
        dropped_lines: returns how many log lines were dropped.
    """

    collections: Histogram = field(default_factory=lambda: Histogram(COLLECT_BOUNDS))
    read_errors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    listing_up: bool = False
    scrapes: Counter[int] = field(default_factory=Counter)
    in_flight: int = 0
    dropped: int = 0
    config: ConfigState = field(default_factory=ConfigState)
    heartbeat: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)
    dropped_lines: Callable[[], int] = standard_error.dropped_lines
