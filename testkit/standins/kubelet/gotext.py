"""How a program written in Go would print it: quoted strings and gRPC statuses."""

from __future__ import annotations

import re
from collections.abc import Iterable

import grpc

_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_LARGEST_BYTE_ESCAPE = 0x7F
_LARGEST_SHORT_ESCAPE = 0xFFFF
_DEADLINE_TEXTS = ("Deadline Exceeded", "Stream removed (Deadline Exceeded)")
_TOO_LARGE = re.compile(r"\((\d+) vs\.? (\d+)\)")


def quote(text: str) -> str:
    """`%q` of a string."""
    return f'"{"".join(map(_escape, text))}"'


def quote_all(texts: Iterable[str]) -> str:
    """`%q` of a list of strings."""
    return f"[{' '.join(map(quote, texts))}]"


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    point = ord(character)
    if point <= _LARGEST_BYTE_ESCAPE:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= _LARGEST_SHORT_ESCAPE else f"\\U{point:08x}"


def code_name(code: grpc.StatusCode) -> str:
    """The status code as Go names it: `NotFound`, but `OK`, and `Canceled` with one l."""
    if code is grpc.StatusCode.OK:
        return "OK"
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in code.name.split("_"))


def rpc_error(code: grpc.StatusCode, details: str) -> str:
    """A failed call, as its caller's log shows it."""
    return f"rpc error: code = {code_name(code)} desc = {_as_go_says(code, details)}"


def _as_go_says(code: grpc.StatusCode, details: str) -> str:
    """What this client says of its own accord, in the words of the kubelet's client."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and details in _DEADLINE_TEXTS:
        return "context deadline exceeded"
    sizes = _TOO_LARGE.search(details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details and sizes:
        return f"grpc: received message larger than max ({sizes[1]} vs. {sizes[2]})"
    return details
