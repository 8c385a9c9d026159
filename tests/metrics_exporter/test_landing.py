"""The page for people: what it says of the cards, that it is read at a glance, and that nothing on it is ever run."""

from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.claims import Container
from npu_core.cores import CoreRange
from npu_core.device import ComponentVersion
from npu_core.errors import ReadFailedError
from npu_core.health import Vitals
from npu_core.sensors import Quantity, Reading, Sensor
from npu_metrics_exporter.metrics.podmap import Owner, PodMap
from npu_metrics_exporter.metrics.snapshot import CardReport, Snapshot
from npu_metrics_exporter.web.landing import Card, Page, page
from npu_metrics_exporter.web.landing import Reading as Shown
from npu_metrics_exporter.web.landing_rows import cards_of
from tests.metrics_exporter.cards import (
    DEAD,
    LIVING,
    RNGD,
    SILENT,
    WALL,
    WARBOY,
    found,
    known_host,
    look_twice,
    of_card,
    report,
    snapshot,
    temperature,
)

HOSTILE = "<script src=//evil.example/x.js></script>\"' onload=alert(1) &amp; <img src=x onerror=y>"
MARK = "@@"
ALIVE = Card("npu0", "warboy", "alive", good=True)
LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "style"}
"""Attributes that make a browser fetch something, or may."""
LINKS = ["/metrics", "/healthz", "/readyz"]


class Parsed(HTMLParser):
    """A page, as a browser would take it apart."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.classes: list[list[str | None]] = []
        self.style = ""
        self.words = ""
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.classes.append([dict(attrs).get("class")])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.classes[-1].append(dict(attrs).get("class"))
        if tag == "div":
            self.rows[-1][-1] += "|"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "tags are closed in their order"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
            return
        self.words += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data

    def is_whole(self) -> bool:
        return not self._open

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}

    def table(self) -> list[dict[str, str]]:
        """Its rows, each cell under its column's name; a bar before each line of a cell."""
        head, *rows = self.rows
        return [dict(zip(head, row, strict=True)) for row in rows]


def shown(*cards: Card, node: str = "worker-1", version: str = "1.2.3") -> Parsed:
    return Parsed(page(Page(cards, node, version, WALL, 10.0)))


def row(card: Card) -> dict[str, str]:
    (only,) = shown(card).table()
    return only


def of(*reports: CardReport, pods: PodMap | None = None) -> tuple[Card, ...]:
    return cards_of(snapshot(*reports), pods or PodMap())


# -- nothing on it is run or fetched -----------------------------------------------------------------------------------


def hostile(text: str) -> Parsed:
    """A page on which everything that comes from the host or the cluster says this."""
    card = Card(text, text, text, good=False, firmware=text, owners=(text, text), uptime=1)
    readings = (Shown(text, 1),)
    return shown(replace(card, temperatures=readings, powers=readings), node=text, version=text)


def test_what_the_host_says_is_text_whatever_it_is() -> None:
    parsed, harmless = hostile(HOSTILE), hostile(MARK)
    assert parsed.tags == harmless.tags
    assert parsed.words == harmless.words.replace(MARK, HOSTILE)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_text_changes_what_the_page_is_made_of(text: str) -> None:
    parsed = hostile(text)
    assert parsed.tags == hostile(MARK).tags
    assert parsed.is_whole()


def test_names_that_are_no_unicode_do_not_cost_the_page() -> None:
    # As the system gives bytes that are no UTF-8.
    assert b"npu?0" in page(Page((replace(ALIVE, name="npu\udcff0"),), "", "1", WALL, 10.0))


def test_nothing_is_loaded_and_nothing_is_run() -> None:
    parsed = shown(ALIVE)
    assert parsed.names() & {"script", "link", "img", "iframe", "object", "embed", "base", "form"} == set()
    for tag, attributes in parsed.tags:
        assert not LOADING & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("http-equiv") is None
    assert "url(" not in parsed.style
    assert "@import" not in parsed.style
    assert [attributes["href"] for tag, attributes in parsed.tags if tag == "a"] == LINKS


# -- it is read at a glance --------------------------------------------------------------------------------------------


def test_values_are_in_units_that_people_read() -> None:
    card = replace(
        ALIVE, temperatures=(Shown("Average", 45_250), Shown("Below", -1_500)), powers=(Shown("RMS", 38_400_000),)
    )
    assert row(card)["Temperature"] == "|Average 45.2 °C|Below -1.5 °C"
    assert row(card)["Power"] == "|RMS 38.4 W"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3_725, "1 h 2 min"), (86_400, "1 d 0 h"), (2_000_000, "23 d 3 h")],
)
def test_the_time_since_a_start_is_said_in_its_two_largest_parts(seconds: int, said: str) -> None:
    assert row(replace(ALIVE, uptime=seconds))["Up"] == f"|{said}"


def test_what_is_not_known_is_a_dash_and_no_zero() -> None:
    cells = row(ALIVE)
    assert {cells[name] for name in ("Temperature", "Power", "Used by", "Up", "Firmware")} == {"–"}  # noqa: RUF001


def test_a_card_that_is_not_well_stands_out_in_its_row_and_above_the_table() -> None:
    dead = replace(ALIVE, name="npu1", health="dead", good=False)
    parsed = shown(ALIVE, dead, replace(ALIVE, name="npu2"))
    assert "3 cards; not well: npu1 (warboy)." in parsed.words
    assert ("p", {"class": "bad"}) in parsed.tags
    # By more than its colour, which not everybody sees.
    assert parsed.classes[2][2] == "bad"
    assert parsed.classes[1][2] == parsed.classes[3][2] == "good"
    assert ".bad{color:#a40e26;font-weight:600" in parsed.style


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ((), "No card is to be seen on this machine."),
        ((ALIVE,), "1 card, all well."),
        ((ALIVE, ALIVE), "2 cards, all well."),
    ],
)
def test_the_cards_are_summed_up(cards: tuple[Card, ...], said: str) -> None:
    assert said in shown(*cards).words


def test_the_page_says_where_when_and_what_it_is() -> None:
    parsed = shown(ALIVE)
    assert "NPUs on worker-1" in parsed.words
    assert "npu-metrics-exporter 1.2.3; read at 2025-06-15 15:06:40 UTC, and again every 10 s" in parsed.words
    assert "on" not in shown(ALIVE, node="").words.partition("\n")[0].split()


# -- from what is known of the cards to rows ---------------------------------------------------------------------------


def test_a_row_says_what_was_read_of_a_card() -> None:
    power = Reading(Sensor("npu0", Quantity.POWER, 1, "RMS", "npu0"), 38_000_000)
    volts = Reading(Sensor("npu0", Quantity.VOLTAGE, 1, "VDD", "npu0"), 800)
    said = report(temperature("Average"), temperature("NE", 2), power, volts, silent=(temperature("NE", 4).sensor,))
    said = replace(said, uptime=7, device=replace(said.device, firmware=ComponentVersion.parse("1.6.0, c1bebfd")))
    (card,) = of(said)
    assert card == Card(
        "npu0",
        "warboy",
        "alive",
        good=True,
        temperatures=(Shown("Average", 45_000), Shown("NE_2", 45_000)),
        powers=(Shown("RMS", 38_000_000),),
        uptime=7,
        firmware="1.6.0, c1bebfd",
    )


@dataclass(frozen=True)
class Case:
    state: Snapshot
    health: str
    good: bool


def listed(vitals: Vitals = LIVING) -> Snapshot:
    return snapshot(replace(report(), vitals=vitals))


UNREADABLE = Vitals(present=True, alive=ReadFailedError("EIO (Input/output error)"))
FAILED = listed().with_failure(WARBOY, stuck=False, now=0.0)
STUCK = listed().with_failure(WARBOY, stuck=True, now=0.0)
CASES = [
    Case(listed(), "alive", good=True),
    Case(listed(SILENT), "does not say", good=True),
    Case(listed(DEAD), "dead", good=False),
    Case(listed(DEAD).with_report(report(), WALL), "recovering", good=False),
    Case(listed(replace(LIVING, missing_files=("npu0pe0",))), "device file npu0pe0 is missing", good=False),
    Case(listed().with_report(replace(report(), vitals=UNREADABLE), WALL), "unreadable: io", good=True),
    Case(listed(UNREADABLE), "unreadable: io", good=False),
    Case(FAILED, "unreadable", good=True),
    Case(FAILED.with_failure(WARBOY, stuck=False, now=30.0), "unreadable", good=False),
    Case(STUCK, "stuck: does not answer", good=True),
    Case(STUCK.with_failure(WARBOY, stuck=True, now=30.0), "stuck: does not answer", good=False),
    Case(listed().with_listing([], 1.0), "departed", good=False),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.health}-{case.good}" for case in CASES])
def test_how_a_card_is_is_said_in_words(case: Case) -> None:
    (card,) = cards_of(case.state, PodMap())
    assert (card.health, card.good) == (case.health, case.good)
    assert card.temperatures == ()
    assert cards_of(case.state.with_listing([found()], 2.0).with_rejection(WARBOY), PodMap()) == ()


def test_a_card_says_who_has_it_and_not_who_has_another() -> None:
    def owner(first: int, last: int, pod: str) -> Owner:
        return Owner(CoreRange(first, last), "beta.furiosa.ai/npu", Container("ml", pod, "main"), is_listed=True)

    pods = PodMap({WARBOY: (owner(0, 0, "train"), owner(1, 1, "serve")), RNGD: (owner(0, 7, "big"),)})
    cards = of(report(), of_card(Arch.RENEGADE, 0), of_card(Arch.RENEGADE, 1), pods=pods)
    assert [card.owners for card in cards] == [
        ("ml/train main (PE 0)", "ml/serve main (PE 1)"),
        ("ml/big main (PE 0-7)",),
        (),
    ]


def test_the_cards_of_a_host_are_on_its_page(tmp_path: Path) -> None:
    rows = shown(*cards_of(look_twice(known_host(tmp_path)), PodMap())).table()
    assert [row["Card"] for row in rows] == ["npu0 warboy", "npu1 warboy", "npu0 renegade"]
    assert {row["Health"] for row in rows} == {"alive"}
    assert all(" °C" in row["Temperature"] and " W" in row["Power"] for row in rows)
    assert rows[0]["Up"] == "|4 h 4 min"
