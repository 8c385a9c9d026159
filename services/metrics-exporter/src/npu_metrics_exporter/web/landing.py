"""The page at ``/``: what a person wants to see of the cards of this node at a glance."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape


@dataclass(frozen=True, slots=True)
class Reading:
    """One value with the sensor's label. Unit as the page's column says: m°C, µW."""

    label: str
    value: int


@dataclass(frozen=True, slots=True)
class Card:
    """A row of the page.

    Attributes:
        name: ``npu0``.
        arch: ``warboy``.
        health: one word or a few: ``alive``, ``dead``, ``unreadable: io``, ``departed``.
        good: whether that is well.
        temperatures: m°C.
        powers: µW.
        uptime: seconds, or None.
        firmware: or empty.
        owners: ``namespace/pod container (PE 0-1)``.
    """

    name: str
    arch: str
    health: str
    good: bool
    temperatures: tuple[Reading, ...] = ()
    powers: tuple[Reading, ...] = ()
    uptime: int | None = None
    firmware: str = ""
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says.

    Attributes:
        cards: in the order to show.
        node: its name, or empty.
        version: of the exporter.
        collected: when the values were read, seconds since the epoch.
        interval: seconds between collections.
    """

    cards: tuple[Card, ...]
    node: str
    version: str
    collected: float
    interval: float


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #d0d7de}
td.good{color:#116329}.bad{color:#a40e26;font-weight:600}
td div{white-space:nowrap}footer{margin-top:2rem;color:#57606a}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}
td.good{color:#3fb950}.bad{color:#ff7b72}a{color:#58a6ff}footer{color:#8b949e}}
"""
_COLUMNS = ("Card", "Health", "Temperature", "Power", "Used by", "Up", "Firmware")
_NOTHING = "–"  # noqa: RUF001  # a dash as wide as a digit, where there is no value


def page(content: Page) -> bytes:
    """The page as HTML, UTF-8; every text of the host escaped, nothing loaded from anywhere."""
    where = f" on {escape(content.node)}" if content.node else ""
    title = f"NPUs{where}"
    parts = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n",
        _summary(content.cards),
        _table(content.cards),
        '<p>For Prometheus: <a href="/metrics">/metrics</a>. For probes: <a href="/healthz">/healthz</a>, ',
        '<a href="/readyz">/readyz</a>.</p>\n',
        f"<footer>npu-metrics-exporter {escape(content.version)}; read at {_moment(content.collected)}, ",
        f"and again every {content.interval:g} s</footer>\n</body>\n</html>\n",
    )
    return "".join(parts).encode("utf-8", "replace")


def _summary(cards: tuple[Card, ...]) -> str:
    if not cards:
        return "<p>No card is to be seen on this machine.</p>\n"
    count = f"{len(cards)} card{'s' if len(cards) > 1 else ''}"
    # By name: with many cards the row is far below.
    bad = ", ".join(escape(f"{card.name} ({card.arch})") for card in cards if not card.good)
    return f'<p class="bad">{count}; not well: {bad}.</p>\n' if bad else f"<p>{count}, all well.</p>\n"


def _table(cards: tuple[Card, ...]) -> str:
    if not cards:
        return ""
    head = "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS)
    rows = "".join(map(_row, cards))
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _row(card: Card) -> str:
    cells = (
        f'<th scope="row">{escape(card.name)} <small>{escape(card.arch)}</small></th>',
        f'<td class="{"good" if card.good else "bad"}">{escape(card.health)}</td>',
        _cell(f"{each.label} {each.value / 1000:.1f} °C" for each in card.temperatures),
        _cell(f"{each.label} {each.value / 1_000_000:.1f} W" for each in card.powers),
        _cell(card.owners),
        _cell([_span(card.uptime)] if card.uptime is not None else ()),
        _cell([card.firmware] if card.firmware else ()),
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _cell(lines: Iterable[str]) -> str:
    return f"<td>{''.join(f'<div>{escape(line)}</div>' for line in lines) or _NOTHING}</td>"


def _span(seconds: int) -> str:
    """The two largest parts of a span of time: ``3 d 4 h``, ``12 s``."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
