"""Passwords, checked where they hold nobody up.

A bcrypt hash takes a twentieth of a second of a core or more, on purpose. So each is computed on one thread that yields
to the event loop, its verdict is kept, and only a few may wait for it: who floods us with wrong passwords waits for his
own, while others' are already known.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import queue
import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

MOST_WAITING = 16
"""Passwords that wait to be checked."""
MOST_WAITING_OF_ONE = 2
"""... of one client's address."""

_MOST_KEPT = 256
_LONGEST_PASSWORD = 72
"""Bytes; bcrypt looks at no more. As the toolkit of the Go exporters, we do not mind what follows."""
_NICENESS = 10

# Of "fakepassword", for users that there are not: they must not be told from the others by the time it takes.
_NOBODYS = b"$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


class Verdict(Enum):
    """What becomes of who asks."""

    GOOD = auto()
    BAD = auto()
    BUSY = auto()
    """Too many passwords are being checked: come again."""


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
    """Checks passwords and remembers which were right. No clear password is kept."""

    def __init__(self) -> None:
        """Nothing known; the thread starts with the first password."""
        self._secret = secrets.token_bytes(32)
        # Kept apart: wrong ones, of which anybody can make any number, never push out a right one.
        self._kept: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._clients: Counter[str] = Counter()
        self._thread: _Thread | None = None

    async def check(self, users: Mapping[str, bytes], header: str, client: str) -> Verdict:
        """Whether the header names one of ``users`` and the right password.

        Args:
            users: bcrypt hash by name.
            header: ``Authorization``, or empty.
            client: the address that asks; only a few passwords of one wait at once.
        """
        given = credentials(header)
        if given is None:
            return Verdict.BAD
        hashed = users.get(given.user, _NOBODYS)
        key = self._key(given, hashed)
        known = self._known(key)
        if known is None:
            future = self._waiting.get(key) or self._submit(key, given.password, hashed, client)
            if future is None:
                return Verdict.BUSY
            # Shielded: others may wait for the same one.
            known = await asyncio.shield(future)
        return Verdict.GOOD if known and given.user in users else Verdict.BAD

    def _key(self, given: Credentials, hashed: bytes) -> bytes:
        user = given.user.encode()
        content = b"%d:%b%b%b" % (len(user), user, hashed, given.password)
        return hashlib.blake2b(content, key=self._secret, digest_size=32).digest()

    def _known(self, key: bytes) -> bool | None:
        for verdict, kept in self._kept.items():
            if key in kept:
                kept.move_to_end(key)
                return verdict
        return None

    def _submit(self, key: bytes, password: bytes, hashed: bytes, client: str) -> "asyncio.Future[bool] | None":
        if len(self._waiting) >= MOST_WAITING or self._clients[client] >= MOST_WAITING_OF_ONE:
            return None
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        self._clients[client] += 1
        future.add_done_callback(lambda done: self._settle(key, client, done))
        if self._thread is None:
            self._thread = _Thread()
        self._thread.errands.put(_Errand(password[:_LONGEST_PASSWORD], hashed, future))
        return future

    def _settle(self, key: bytes, client: str, done: "asyncio.Future[bool]") -> None:
        del self._waiting[key]
        self._clients[client] -= 1
        self._clients += Counter()  # drops the addresses that nothing waits for
        if done.cancelled():
            return
        kept = self._kept[done.result()]
        kept[key] = None
        if len(kept) > _MOST_KEPT:
            kept.popitem(last=False)


class _Errand(NamedTuple):
    password: bytes
    hashed: bytes
    future: "asyncio.Future[bool]"


class _Thread:
    def __init__(self) -> None:
        self.errands: queue.SimpleQueue[_Errand] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="passwords", daemon=True).start()

    def _work(self) -> None:
        # Loaded with the first password: an exporter without users never needs it.
        import bcrypt  # noqa: PLC0415

        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            errand = self.errands.get()
            try:
                right = bcrypt.checkpw(errand.password, errand.hashed)
            except ValueError:
                right = False  # a hash that looks right and is none
            _tell(errand.future, right=right)


def _tell(future: "asyncio.Future[bool]", *, right: bool) -> None:
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, future, right)


def _resolve(future: "asyncio.Future[bool]", right: bool) -> None:  # noqa: FBT001  # called by position
    if not future.done():
        future.set_result(right)
