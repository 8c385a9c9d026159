"""The pages of a service: which there are, and what each says."""

from http import HTTPStatus
from typing import Protocol

from npu_core.service.http.messages import Answer, Request

PROBES = ("/healthz", "/readyz")
"""Pages that the kubelet asks for. Every service answers them whatever else it has to do."""


class Pages(Protocol):
    """What a server serves.

    Attributes:
        headers: names, in lower case, of the headers that the pages read. No other header of a request is kept.
    """

    headers: frozenset[str]

    async def answer(self, request: Request) -> Answer:
        """The answer to one request. Cancelled when the client goes away.

        Raises:
            Exception: the server logs it once for each kind, and answers 500.
        """
        ...

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """A request is being answered with this status, which need not be the status that :meth:`answer` chose."""
        ...

    def in_flight(self, number: int) -> None:
        """So many clients are taking their answers now; those of probes do not count."""
        ...


def not_found(paths: tuple[str, ...]) -> Answer:
    """The answer to a path that is none of these."""
    return Answer(f"nothing here; there are {', '.join(paths)}\n", HTTPStatus.NOT_FOUND)


def wrong_method(request: Request) -> Answer | None:
    """The answer to a request that wants to do something else than read; None for GET and HEAD."""
    if request.method in {"GET", "HEAD"}:
        return None
    return Answer("GET and HEAD only\n", HTTPStatus.METHOD_NOT_ALLOWED, headers=((b"allow", b"GET, HEAD"),))
