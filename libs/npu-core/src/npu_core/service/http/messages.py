"""A request and its answer, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

PLAIN = "text/plain; charset=utf-8"
Headers = tuple[tuple[bytes, bytes], ...]
LATER: Headers = ((b"retry-after", b"1"),)
"""The header of an answer that asks the client to come again in a second."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        method: as the client wrote it, ``GET``.
        path: of the target, without percent-encoding.
        query: of the target, after the question mark; not decoded.
        client: the client's address, without its port; empty if the client has gone.
        headers: those that the pages read, by name in lower case; the values of a name that comes twice are joined by
            commas.
        is_kept: whether the client wants to ask again on the same connection.
    """

    method: str
    path: str
    query: str = ""
    client: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a request. The server adds Date, Content-Length and Connection.

    Attributes:
        body: text is encoded as UTF-8.
        status: the HTTP status.
        content_type: of the body.
        headers: more headers.
    """

    body: str | bytes = b""
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = PLAIN
    headers: Headers = ()

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return self.body.encode() if isinstance(self.body, str) else self.body


def refusal(status: HTTPStatus, headers: Headers = ()) -> Answer:
    """An answer that has nothing but its status."""
    return Answer(f"{status.phrase}\n", status, headers=headers)


def verdict(good: bool, yes: str, no: str) -> Answer:  # noqa: FBT001  # it is what the answer is about
    """The answer to a probe: 200 with one text, or 503 with the other."""
    return Answer(f"{yes}\n") if good else Answer(f"{no}\n", HTTPStatus.SERVICE_UNAVAILABLE)
