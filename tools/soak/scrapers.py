"""Who asks the services all the time: Prometheus in its ways, and the kubelet's probes."""

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException

from testkit.services.exporter import Reply, Scrape, fetch
from tools.benchmarks.client import Connection
from tools.soak.site import DISCOVERY, EXPORTER, PLUGIN, SERVICES, Site

_PAUSE = 1.0
"""Seconds between two scrapes of one scraper."""
_PROBES = 2.0
"""Seconds between two rounds of probes."""
_ENCODINGS: tuple[dict[str, str], ...] = (
    {},
    {"Accept-Encoding": "gzip"},
    {"Accept": "application/openmetrics-text; version=1.0.0"},
)


@dataclass(frozen=True, slots=True)
class Scraper:
    """Scrapes the exporter for ever, and does not look at what it gets.

    Attributes:
        kept: whether it keeps its connection.
        gzip: whether it takes compressed answers.
    """

    kept: bool
    gzip: bool

    @property
    def name(self) -> str:
        """For the counts."""
        return f"scrapes, {'kept' if self.kept else 'new'} connection, {'gzip' if self.gzip else 'plain'}"

    async def run(self, site: Site) -> None:
        """Scrape."""
        while True:
            await asyncio.sleep(_PAUSE)
            asked = site.pid(EXPORTER)
            try:
                await (self._on_one(site) if self.kept else self._once(site))
            except OSError as error:
                if EXPORTER in site.down or asked != site.pid(EXPORTER):
                    site.counts["scrapes lost to a restart of the exporter"] += 1
                else:
                    site.report(f"{self.name}: {error!r}")

    async def _once(self, site: Site) -> None:
        with await self._connected(site) as connection:
            await self._get(site, connection)

    async def _on_one(self, site: Site) -> None:
        with await self._connected(site) as connection:
            while True:
                await self._get(site, connection)
                await asyncio.sleep(_PAUSE)

    async def _connected(self, site: Site) -> Connection:
        return await asyncio.to_thread(Connection, site.ports[EXPORTER], gzip=self.gzip)

    async def _get(self, site: Site, connection: Connection) -> None:
        reply = await asyncio.to_thread(connection.get)
        site.counts[self.name if reply.status == HTTPStatus.OK else f"{self.name}, answer {reply.status}"] += 1
        # A crowd at the same moment is the one reason to be turned away.
        if reply.status not in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
            site.report(f"{self.name}: answer {reply.status}")


async def read_scrapes(site: Site) -> None:
    """Scrape the exporter in every encoding in turn, and read what it says."""
    number = 0
    while True:
        await asyncio.sleep(_PAUSE)
        number += 1
        reply = await _asked(site, EXPORTER, "/metrics", _ENCODINGS[number % len(_ENCODINGS)])
        if reply is not None and reply.status == HTTPStatus.OK:
            site.counts["scrapes that were read"] += 1
            site.look_for_ghosts(Scrape.parse(_text(reply)))


def _text(reply: Reply) -> str:
    body = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
    # To the reader of the text format the other one's last line is a comment.
    return body.decode()


async def probe(site: Site) -> None:
    """Ask every service whether it lives and is ready, and scrape those that nobody else scrapes."""
    while True:
        await asyncio.sleep(_PROBES)
        for service in SERVICES:
            for page in ("/healthz", "/readyz", *(("/metrics",) if service in {PLUGIN, DISCOVERY} else ())):
                reply = await _asked(site, service, page, {})
                if reply is None:
                    continue
                site.counts[f"{service}{page} {reply.status}"] += 1
                if page != "/readyz" and reply.status != HTTPStatus.OK:
                    site.report(f"{service}{page} answers {reply.status}")


async def _asked(site: Site, service: str, page: str, headers: dict[str, str]) -> Reply | None:
    """The answer; None, which is reported, if there is none."""
    asked = site.pid(service)
    try:
        return await asyncio.to_thread(fetch, site.ports[service], page, headers)
    except (OSError, HTTPException) as error:
        if service not in site.down and asked == site.pid(service):
            site.report(f"{service}{page}: {error!r}")
        return None


EVERYBODY: tuple[Callable[[Site], Coroutine[None, None, None]], ...] = (
    *(Scraper(kept, zipped).run for kept in (True, False) for zipped in (True, False)),
    read_scrapes,
    probe,
)
