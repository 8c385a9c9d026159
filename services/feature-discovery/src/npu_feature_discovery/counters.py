"""What the discovery counts about itself: plain numbers, kept whether or not anybody scrapes them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from npu_core.service import standard_error
from npu_core.service.http.traffic import Traffic


@dataclass(slots=True)
class Counters:
    """Everything counted since the start.

    Attributes:
        publishes: attempts to publish that succeeded, by outcome.
        failures: by reason: those of the sink, ``look`` where the host could not be read, ``unforeseen``.
        changes: how often what is published became something else.
        last_success: seconds since the epoch when the labels were last known to be published; None if never.
        look_seconds: how long the last look at the host took; None before the first.
        traffic: clients of the HTTP server.
        dropped_lines: returns how many log lines were dropped.
    """

    publishes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    last_success: float | None = None
    look_seconds: float | None = None
    traffic: Traffic = field(default_factory=Traffic)
    dropped_lines: Callable[[], int] = standard_error.dropped_lines
