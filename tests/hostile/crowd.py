"""A crowd of clients that want no good: ``python -m tests.hostile.crowd PORT COUNT``, a process of its own.

A process, because thousands of clients need descriptors and processor time that the test itself needs for its checks.
"""

import argparse
import base64
import json
import os
import resource
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

_MOST_CONNECTING = 64
"""Connections that are being made at once. More would be lost in the listener's queue and come again a second later."""
_TICK_SECONDS = 1.0


@dataclass
class _Crowd:
    port: int
    number: int
    says: bytes
    drips: bytes
    reads: int
    addresses: int
    again: bool
    guesses: str
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    connected: set[socket.socket] = field(default_factory=set)
    connecting: int = 0
    begun: int = 0
    closed: int = 0
    refused: int = 0
    guessed: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Attack until standard input ends."""
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        serial = count()
        is_told = False
        ticked = time.monotonic()
        while True:
            while self._wants_more() and self.connecting < _MOST_CONNECTING:
                self._connect(next(serial))
            if not is_told and len(self.connected) + self.closed + self.refused >= self.number:
                is_told = True
                sys.stdout.write("there\n")
                sys.stdout.flush()
            for key, _ in self.selector.select(timeout=0.1):
                if key.fileobj is sys.stdin:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self._serve(key.fileobj)
            if time.monotonic() - ticked > _TICK_SECONDS:
                ticked = time.monotonic()
                for client in list(self.connected):
                    self._tick(client)

    def _wants_more(self) -> bool:
        if self.again:
            return len(self.connected) + self.connecting < self.number
        return self.begun < self.number

    def _connect(self, serial: int) -> None:
        self.begun += 1
        client = socket.socket()
        client.setblocking(False)
        if self.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        number = serial % self.addresses
        client.bind((f"127.{1 + number // 250 // 250}.{number // 250 % 250}.{1 + number % 250}", 0))
        client.connect_ex(("127.0.0.1", self.port))
        self.connecting += 1
        self.selector.register(client, selectors.EVENT_WRITE)

    def _serve(self, client: socket.socket) -> None:
        if client not in self.connected:
            self.connecting -= 1
            if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.refused += 1
                self._close(client)
                return
            self.connected.add(client)
            # A client that reads slowly is not woken by what it could read.
            if self.reads:
                self.selector.unregister(client)
            else:
                self.selector.modify(client, selectors.EVENT_READ)
            self._send(client, self._guess() if self.guesses else self.says)
        else:
            self._read(client)

    def _guess(self) -> bytes:
        """A request with a password that nobody has tried before."""
        self.guessed += 1
        given = base64.b64encode(f"{self.guesses}:{os.getpid()} {self.guessed}".encode())
        return b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic " + given + b"\r\n\r\n"

    def _tick(self, client: socket.socket) -> None:
        if self.reads:
            self._read(client)
        elif self.drips:
            self._send(client, self.drips)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(self.reads or 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data.startswith(b"HTTP/1.1 "):
            self.answers[data[9:12].decode("ascii", "replace")] += 1
        if not data:
            self.closed += 1
            self._close(client)

    def _send(self, client: socket.socket, data: bytes) -> None:
        try:
            client.send(data)
        except BlockingIOError:
            pass  # the other side reads nothing, which is its right
        except OSError:
            self.closed += 1
            self._close(client)

    def _close(self, client: socket.socket) -> None:
        self.connected.discard(client)
        if client in self.selector.get_map():
            self.selector.unregister(client)
        client.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("number", type=int)
    parser.add_argument("--says", default="", help="what each says when it is connected, in hexadecimal")
    parser.add_argument("--script", type=Path, help="a file with what each says, if that is too long for an option")
    parser.add_argument("--drips", default="", help="what each says once a second, in hexadecimal")
    parser.add_argument(
        "--reads", type=int, default=0, help="bytes that each reads once a second; 0 for all there are, at once"
    )
    parser.add_argument("--guesses", default="", help="for which user each asks with a password of its own")
    parser.add_argument("--addresses", type=int, default=1, help="from how many addresses they come")
    parser.add_argument("--again", action="store_true", help="who was cut off comes again")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(5)
    crowd = _Crowd(
        port=given.port,
        number=given.number,
        says=given.script.read_bytes() if given.script else bytes.fromhex(given.says),
        drips=bytes.fromhex(given.drips),
        reads=given.reads,
        addresses=given.addresses,
        again=given.again,
        guesses=given.guesses,
    )
    crowd.run()
    told = {"begun": crowd.begun, "closed": crowd.closed, "refused": crowd.refused, "answers": crowd.answers}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
