"""A look at a card, beside an earlier one at its counters."""

from pathlib import Path

from npu_core.arch import Arch
from npu_metrics_exporter.card_look import CounterLook, look_at_card
from npu_metrics_exporter.metrics.snapshot import CardReport
from tests.metrics_exporter.cards import known_host, work


def look(root: Path, *, exchanged: bool) -> CardReport:
    """The first Warboy's, after one before which another card may have had its number."""
    host = known_host(root)
    opened, card = host.open(), host.card(Arch.WARBOY, 0)
    found = opened.find()[0]
    first = look_at_card(opened, found, None, CounterLook(), lambda: 0.0)
    assert isinstance(first, tuple)
    work(host)
    if exchanged:
        card.set_attribute("device_uuid", "OTHER-UUID")
    second = look_at_card(opened, found, first[0].device, first[1], lambda: 10.0)
    assert isinstance(second, tuple)
    return second[0]


def test_work_is_what_was_done_between_two_looks(tmp_path: Path) -> None:
    assert [each.busy for each in look(tmp_path, exchanged=False).utilization] == [0.5]


def test_the_counters_of_another_card_tell_nothing_of_this_ones_work(tmp_path: Path) -> None:
    report = look(tmp_path, exchanged=True)
    assert report.counters
    assert report.utilization == ()
