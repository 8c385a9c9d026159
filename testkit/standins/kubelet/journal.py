"""What happened, in order, and a way to wait for more."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from testkit.standins.kubelet.values import PluginDevice


class EventKind(StrEnum):
    """Everything a stand-in kubelet tells about itself."""

    STARTED = "started"
    STOPPED = "stopped"
    KILLED = "killed"
    PANICKED = "panicked"
    API_SERVER_STOPPED = "api_server_stopped"
    API_SERVER_STARTED = "api_server_started"
    STATUS_PUBLISHED = "status_published"
    WIPED = "wiped"
    CHECKPOINT_UNREADABLE = "checkpoint_unreadable"
    REGISTER_REQUEST = "register_request"
    REGISTERED = "registered"
    REGISTER_FAILED = "register_failed"
    DIAL_FAILED = "dial_failed"
    LIST_MESSAGE = "list_message"
    STREAM_ENDED = "stream_ended"
    RESOURCE_REMOVED = "resource_removed"
    PREFERRED = "preferred"
    ALLOCATE = "allocate"
    PRE_START = "pre_start"
    ENV_CONFLICT = "env_conflict"
    POD_ADMITTED = "pod_admitted"
    POD_FAILED = "pod_failed"
    POD_FINISHED = "pod_finished"
    POD_DELETED = "pod_deleted"
    PODS_DROPPED = "pods_dropped"
    POD_RUNNING = "pod_running"
    CHECKPOINT_FAILED = "checkpoint_failed"
    CONTAINER_STARTED = "container_started"
    CONTAINER_WAITING = "container_waiting"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Fields that do not apply are empty."""

    kind: EventKind
    resource: str = ""
    pod: str = ""
    container: str = ""
    socket: str = ""
    """The plugin's socket."""
    ids: tuple[str, ...] = ()
    """Of a call: the devices it was about, in the order of the request (of PREFERRED: of the answer).
    Of PODS_DROPPED: the uids of the pods."""
    devices: tuple[PluginDevice, ...] = ()
    """Of a ListAndWatch message: all of it."""
    text: str = ""
    """An error's text, or what else is to be said."""
    seconds: float | None = None
    """How long a call took."""
    at: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock, always the real one."""

    def as_json(self) -> dict[str, object]:
        """The fields that say something, ready for json.dumps."""
        return {name: value for name, value in asdict(self).items() if value not in ("", (), None)}

    def __str__(self) -> str:
        """One line."""
        parts = [f"{name}={value!r}" for name, value in self.as_json().items() if name not in ("at", "kind")]
        return f"{self.at:.3f} {self.kind} {' '.join(parts)}".rstrip()


class Journal:
    """Events in order."""

    def __init__(self, listener: Callable[[Event], None] | None = None, remembered: int | None = None) -> None:
        self._events: deque[Event] = deque(maxlen=remembered)
        self.counts: Counter[tuple[EventKind, str]] = Counter()
        """How often each kind of event happened to each resource ("" for those about none)."""
        self._listener = listener
        self._next = asyncio.Event()

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything so far, or the newest ones if only so many are remembered."""
        return tuple(self._events)

    def record(self, event: Event) -> None:
        """Append, and wake whoever waits. State must have changed before."""
        self._events.append(event)
        self.counts[event.kind, event.resource] += 1
        if self._listener:
            self._listener(event)
        self._next.set()
        self._next = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next event."""
        await self._next.wait()

    def __str__(self) -> str:
        """One line per event."""
        return "\n".join(map(str, self._events)) or "(nothing happened)"
