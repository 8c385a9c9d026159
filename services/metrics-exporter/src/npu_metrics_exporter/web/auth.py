"""Passwords, checked without holding up the service, or the right password behind wrong ones.

A bcrypt hash takes a twentieth of a second of a core or more, on purpose. One thread that yields to the event loop
computes the hashes, one at a time, and the verdicts are kept. Who waits for the thread waits in a queue that is fair to
client addresses (:mod:`npu_metrics_exporter.web.fair_queue`), so that wrong passwords mostly delay the address that
they come from.

Neither a verdict's duration nor its order says anything about which users exist. Each check computes the same hashes
for every user name, known or unknown: one of each cost that any user's hash has. What is kept, and whose turn is next,
depends on what clients have sent and not on the users.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from npu_core.errors import HostError
from npu_core.service.device_threads import DeviceThreads
from npu_core.service.http.room import origin
from npu_core.service.logs import EventLog
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.web.fair_queue import FairQueue

_log = EventLog(__name__)
MAX_WAITING = 128
"""Largest number of passwords that wait to be checked: one for each connection that the server takes."""
PATIENCE = 9.0
"""Seconds for which a client waits for a check. Prometheus' default ``scrape_timeout`` is 10 s."""

_MAX_KEPT_WRONG = 256
_LONGEST_PASSWORD = 72
"""Bytes; bcrypt looks at no more. As the toolkit of the Go exporters, we do not mind what follows."""
_THREAD = "passwords"
_NICENESS = 10
_STAND_IN = b"$2b$%02d$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
"""A hash to compute where a user has none of that cost. Whether the password fits the hash does not matter."""


class Verdict(Enum):
    """What becomes of who asks."""

    GOOD = auto()
    BAD = auto()
    BUSY = auto()
    """Too many passwords are being checked, none can be, or the users have just changed: come again."""


class Credentials(NamedTuple):
    """A user's name and clear password, for as long as they are looked at."""

    user: str
    password: bytes


def credentials(header: str) -> Credentials | None:
    """What an ``Authorization`` header says, or None if it is not one of basic authentication."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return Credentials(user.decode("utf-8", "replace"), password) if colon else None


class Passwords:
    """Checks passwords and remembers the verdicts. No clear password is kept after its check.

    All methods belong to the thread of one event loop.
    """

    def __init__(self) -> None:
        """Nothing known; the thread starts with the first password."""
        self._secret = secrets.token_bytes(32)
        self._users: Mapping[str, bytes] = {}
        # Wrong passwords are kept apart: anybody can make any number of them, and must not push out a right one.
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._queue: FairQueue[_Errand] = FairQueue(MAX_WAITING)
        self._in_work: _Errand | None = None
        self._threads = DeviceThreads()
        self._complaint = ""

    @property
    def waiting(self) -> int:
        """How many passwords wait to be checked, without the one that is being checked."""
        return len(self._queue)

    async def check(self, users: Mapping[str, bytes], header: str, client: str) -> Verdict:
        """Whether the header names one of ``users`` and the right password.

        Cancel the task of this method if the client is gone: then the password does not wait any longer.

        Args:
            users: bcrypt hash by name.
            header: ``Authorization``, or empty.
            client: the address that asks.
        """
        given = credentials(header)
        if given is None:
            return Verdict.BAD
        self._follow(users)
        password = given.password[:_LONGEST_PASSWORD]
        key = self._key(given.user, password)
        known = self._known(given.user, key)
        if known is not None:
            return known
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        errand = _Errand(given.user, key, password, self._users, future)
        who = origin(client)
        dropped = self._queue.put(who, errand, time.monotonic())
        if dropped is not None:
            _resolve(dropped.future, Verdict.BUSY)
        self._work()
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return Verdict.BUSY
        finally:
            self._queue.discard(who, errand)

    def _follow(self, users: Mapping[str, bytes]) -> None:
        if users is self._users or users == self._users:
            return
        self._right = {user: key for user, key in self._right.items() if users.get(user) == self._users[user]}
        # All of them, not only those of changed users: else the next attempt's duration would tell which users changed.
        self._wrong.clear()
        self._users = dict(users)

    def _key(self, user: str, password: bytes) -> bytes:
        name = user.encode()
        return hashlib.blake2b(b"%d:%b%b" % (len(name), name, password), key=self._secret, digest_size=32).digest()

    def _known(self, user: str, key: bytes) -> Verdict | None:
        if secrets.compare_digest(self._right.get(user, b""), key):
            return Verdict.GOOD
        if key in self._wrong:
            self._wrong.move_to_end(key)
            return Verdict.BAD
        return None

    def _work(self) -> None:
        """Give the thread the next password, if the thread is free."""
        while self._in_work is None and (errand := self._queue.take(time.monotonic())) is not None:
            if errand.users is not self._users:
                _resolve(errand.future, Verdict.BUSY)
            elif (known := self._known(errand.user, errand.key)) is not None:  # another client sent the same
                _resolve(errand.future, known)
            else:
                self._begin(errand)

    def _begin(self, errand: "_Errand") -> None:
        try:
            checked = self._threads.start(_THREAD, partial(_is_right, errand))
        except HostError as error:  # the system refuses a thread
            self._complain(error.detail)
            _resolve(errand.future, Verdict.BUSY)
            return
        self._in_work = errand
        checked.add_done_callback(partial(self._settle_on_loop, errand))

    def _settle_on_loop(self, errand: "_Errand", checked: "Future[bool]") -> None:
        # The loop may be closed at any moment: then nobody waits for the verdict.
        with contextlib.suppress(RuntimeError):
            errand.future.get_loop().call_soon_threadsafe(self._settle, errand, checked)

    def _settle(self, errand: "_Errand", checked: "Future[bool]") -> None:
        self._in_work = None
        error = checked.exception()
        self._complain("" if error is None else repr(error))
        if error is not None or errand.users is not self._users:
            _resolve(errand.future, Verdict.BUSY)
        elif checked.result():
            self._right[errand.user] = errand.key
            _resolve(errand.future, Verdict.GOOD)
        else:
            self._wrong[errand.key] = None
            if len(self._wrong) > _MAX_KEPT_WRONG:
                self._wrong.popitem(last=False)
            _resolve(errand.future, Verdict.BAD)
        self._work()

    def _complain(self, complaint: str) -> None:
        if complaint and not self._complaint:
            _log.error(Event.PASSWORDS_UNCHECKED, reason=complaint)
        elif self._complaint and not complaint:
            _log.info(Event.PASSWORDS_CHECKED)
        self._complaint = complaint


@dataclass(frozen=True, slots=True, eq=False)
class _Errand:
    user: str
    key: bytes
    password: bytes
    users: Mapping[str, bytes]
    future: asyncio.Future[Verdict]


def _resolve(future: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not future.done():
        future.set_result(verdict)


def _is_right(errand: _Errand) -> bool:
    # Nicer than that already, it may not be told to be less so; that must not cost the passwords.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    return is_password(errand.password, errand.users.get(errand.user), errand.users.values())


def is_password(password: bytes, hashed: bytes | None, hashes: Iterable[bytes]) -> bool:
    """Whether the hash is the password's; False for no hash. Computes the same whatever ``hashed`` is.

    Computes one hash of each cost in ``hashes``: at most twice the work of the costliest hash.

    Args:
        password: at most 72 bytes.
        hashed: one of ``hashes``, or None.
        hashes: the hashes of all users.
    """
    is_right = False
    for cost in sorted({_cost(each) for each in hashes}):
        if hashed is not None and _cost(hashed) == cost:
            is_right = _fits(password, hashed, cost)
        else:
            _fits(password, _STAND_IN % cost, cost)
    return is_right


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def _fits(password: bytes, hashed: bytes, cost: int) -> bool:
    # Loaded with the first password: an exporter without users never needs it.
    import bcrypt  # noqa: PLC0415

    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # has the form of a hash and is none, and bcrypt says so without the work
        bcrypt.checkpw(password, _STAND_IN % cost)
        return False
