"""Listens, and serves the web application."""

from collections.abc import Sequence
from dataclasses import dataclass

from npu_metrics_exporter.web import Web
from npu_metrics_exporter.web_reload import WebKeeper


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Seconds and bytes.

    Attributes:
        connections: open at once.
        head_seconds: for a request to arrive, from its first byte, or from the connection on.
        taking_seconds: for an answer to be taken.
        idle_seconds: a connection stays open between two requests.
        request_bytes: of a request.
    """

    connections: int = 256
    head_seconds: float = 5.0
    taking_seconds: float = 10.0
    idle_seconds: float = 75.0
    request_bytes: int = 16384


class Server:
    """Serves until it is closed.

    Attributes:
        addresses: where it listens; the port that was found, where 0 was asked for.
    """

    addresses: tuple[tuple[str, int], ...] = ()

    async def close(self, seconds: float = 1.0) -> None:
        """Take no more, let the answers under way be taken for so long, then cut them off."""
        raise NotImplementedError(seconds)


async def serve(
    web: Web, keeper: WebKeeper, addresses: Sequence[tuple[str, int]], limits: Limits = Limits()  # noqa: B008
) -> Server:
    """Begin to listen on each ``(host, port)``; an empty host is every address of the machine.

    Raises:
        OSError: if an address cannot be had.
    """
    raise NotImplementedError(web, keeper, addresses, limits)
