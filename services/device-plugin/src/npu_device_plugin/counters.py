"""What the plugin counts about itself: plain numbers, kept whether or not anybody scrapes them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from npu_core.config.reload import ConfigState
from npu_core.service import standard_error
from npu_core.service.histogram import Histogram
from npu_core.service.http.traffic import Traffic

LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
"""Seconds: upper bounds of the buckets that answers to Allocate are counted in."""


@dataclass(slots=True)
class Counters:
    """Everything counted since the start.

    Attributes:
        registrations: by resource and cause, the first one's being ``start``.
        failed_registrations: by resource.
        streams: streams the kubelet opened, by resource.
        sends: messages sent on them, by resource.
        allocations: answers to Allocate by resource and result, ``granted`` or ``refused``.
        latency: of answers to Allocate, by resource.
        health_changes: by card, family, and the status it changed to.
        config: how reading the settings went.
        holdings_errors: failed questions to the kubelet about who holds what, by gRPC code.
        traffic: clients of the HTTP server.
        dropped_lines: returns how many log lines were dropped.
    """

    registrations: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed_registrations: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)
    allocations: Counter[tuple[str, str]] = field(default_factory=Counter)
    latency: dict[str, Histogram] = field(default_factory=dict)
    health_changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    config: ConfigState = field(default_factory=ConfigState)
    holdings_errors: Counter[str] = field(default_factory=Counter)
    traffic: Traffic = field(default_factory=Traffic)
    dropped_lines: Callable[[], int] = standard_error.dropped_lines

    def latency_of(self, resource: str) -> Histogram:
        """The histogram of a resource's answers to Allocate."""
        return self.latency.setdefault(resource, Histogram(LATENCY_BOUNDS))
