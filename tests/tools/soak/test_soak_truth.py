"""What the services have to say of the cards: every check finds what it is for, and nothing else."""

from dataclasses import replace

import pytest

from npu_core.partition import UnitId
from testkit.services.exporter import Scrape
from tools.soak.truth import (
    COUNT,
    CardTruth,
    Held,
    alive_problems,
    freshness_problems,
    ghost_problems,
    holder_problems,
    label_problems,
    offer_problems,
)

GRACE = 12.0
WELL = CardTruth(0, uptime=100)
DEAD = CardTruth(0, alive=False, uptime=100)


def scrape(*lines: str) -> Scrape:
    return Scrape.parse("\n".join((*lines, "")))


def alive(value: int) -> str:
    return f'furiosa_npu_alive{{device="npu0"}} {value}'


@pytest.mark.parametrize(
    ("card", "lines", "right"),
    [
        (WELL, [alive(1)], True),
        (WELL, [alive(0)], False),
        (WELL, [], False),
        (DEAD, [alive(0)], True),
        (DEAD, [alive(1)], False),
        (CardTruth(0, alive=None), [alive(0)], True),
        (CardTruth(0, spoiled=True), [], True),
        (CardTruth(0, gone=2), [alive(0)], True),
        (CardTruth(0, gone=2), [], False),
        (CardTruth(0, gone=2), [alive(1)], False),
        (CardTruth(0, gone=GRACE), [], True),
        (CardTruth(0, gone=GRACE), [alive(1)], False),
    ],
)
def test_the_exporter_says_whether_a_card_lives(card: CardTruth, lines: list[str], *, right: bool) -> None:
    assert (not list(alive_problems(scrape(*lines), [card], GRACE))) == right


@pytest.mark.parametrize(("told", "right"), [("98", True), ("80", False), ("120", False), (None, False)])
def test_values_are_of_now(told: str | None, *, right: bool) -> None:
    lines = [] if told is None else [f'furiosa_npu_uptime_seconds{{device="npu0"}} {told}']
    assert (not list(freshness_problems(scrape(*lines), [WELL], 6.0))) == right


@pytest.mark.parametrize(
    ("gone", "lines", "right"),
    [
        (None, ['furiosa_npu_uptime{device="npu0"} 1'], True),
        (1.0, ['furiosa_npu_uptime{device="npu0"} 1'], True),
        (8.0, ['furiosa_npu_uptime{device="npu0"} 1'], False),
        (8.0, ['furiosa_npu_uptime{device="npu1"} 1', alive(0)], True),
        (8.0, ['furiosa_npu_exporter_collect_success{device="npu0"} 0'], True),
        (GRACE + 8.0, [alive(0)], False),
        (GRACE + 8.0, [], True),
    ],
)
def test_no_value_comes_from_a_card_that_is_gone(gone: float | None, lines: list[str], *, right: bool) -> None:
    assert (not list(ghost_problems(scrape(*lines), [CardTruth(0, gone=gone)], GRACE))) == right


ROW = 'furiosa_npu_pod_info{device="npu0",core="0-1",namespace="default",pod="a",container="main"} 1'
HOLD = Held("npu0", "0-1", "default", "a", "main")


def test_who_holds_what_is_told_and_nobody_is_invented() -> None:
    assert not list(holder_problems(scrape(ROW), {HOLD}))
    assert "does not tell" in next(holder_problems(scrape(), {HOLD}))
    assert "invents" in next(holder_problems(scrape(ROW), ()))
    assert len(list(holder_problems(scrape(ROW), {replace(HOLD, core="0")}))) == 2


LABELS = {
    COUNT: "2",
    "beta.furiosa.ai/npu.product": "warboyB0",
    "beta.furiosa.ai/machine.vendor": "Dell-Inc",
}
MACHINE = {"beta.furiosa.ai/machine.vendor": "Dell-Inc"}
TWO = (CardTruth(0), CardTruth(1))
GONE = (CardTruth(0), CardTruth(1, gone=9))


@pytest.mark.parametrize(
    ("labels", "cards", "right"),
    [
        (LABELS, TWO, True),
        (LABELS | {COUNT: "1"}, TWO, False),
        (LABELS | {COUNT: "1"}, GONE, True),
        (LABELS, GONE, False),
        ({COUNT: "2"}, TWO, False),
        (LABELS | {"beta.furiosa.ai/npu.more": "x"}, TWO, False),
        (MACHINE | {COUNT: "0"}, tuple(replace(card, gone=9) for card in TWO), True),
        (LABELS | {COUNT: "0"}, tuple(replace(card, gone=9) for card in TWO), False),
        ({}, (CardTruth(0, spoiled=True), CardTruth(1)), True),
    ],
)
def test_labels_are_those_of_the_cards(labels: dict[str, str], cards: tuple[CardTruth, ...], *, right: bool) -> None:
    assert (not list(label_problems(labels, LABELS, cards))) == right


def test_no_unit_of_a_card_that_is_dead_or_gone_is_offered() -> None:
    unit = UnitId.parse("npu0pe0-1")
    assert not list(offer_problems([unit], [WELL, replace(DEAD, index=1)]))
    assert list(offer_problems([unit], [DEAD]))
    assert list(offer_problems([unit], [CardTruth(0, gone=3)]))
