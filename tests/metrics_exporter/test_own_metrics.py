"""The exporter's own metrics: what is there before anything has happened, and what they are called by."""

import re
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.errors import Reason
from npu_core.service.grpc_codes import GRPC_CODES
from npu_core.service.http import messages, pages, server
from npu_core.service.metrics import Row
from npu_core.threads import NO_THREAD
from npu_metrics_exporter.counters import NO_SOCKET, SCRAPE_STATUSES, UNFORESEEN, Counters
from npu_metrics_exporter.metrics.policy import OWN_LABELS
from npu_metrics_exporter.metrics.self_metrics import TABLE, Moment, PodResourcesStats, own_families
from npu_metrics_exporter.metrics.snapshot import CardState, CardStatus, Snapshot
from npu_metrics_exporter.web import application as web

CARD = CardState((Arch.WARBOY, 0))
NOTHING_HAPPENED = Moment(Snapshot((CARD,)), Counters(), PodResourcesStats())
COUNTERS = [row for row in TABLE if row.always is not None]

Series = dict[tuple[tuple[str, str], ...], float]


def series(name: str, moment: Moment = NOTHING_HAPPENED, static: tuple[tuple[str, str], ...] = ()) -> Series:
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in own_families(moment, static)
        for sample in family.samples
        if sample.name == f"furiosa_npu_exporter_{name}"
    }


@pytest.mark.parametrize("row", COUNTERS, ids=lambda row: row.name)
def test_a_counter_is_there_as_0_before_it_counts(row: Row[Moment]) -> None:
    """``increase()`` does not see a counter go from nothing to 1."""
    found = series(row.sample)
    assert found
    assert set(found.values()) == {0}


def test_a_read_error_of_a_card_has_a_series_for_each_reason() -> None:
    found = series("read_errors_total")
    reasons = {dict(labels)["reason"] for labels in found}
    assert reasons == {*Reason, "unforeseen"}
    assert {(dict(labels)["device"], dict(labels)["arch"]) for labels in found} == {("npu0", "warboy")}


def test_what_is_no_card_has_no_read_errors() -> None:
    rejected = Snapshot((CardState((Arch.WARBOY, 0), CardStatus.REJECTED),))
    assert series("read_errors_total", Moment(rejected, Counters())) == {}


def test_what_was_counted_stands_beside_what_was_not() -> None:
    telemetry = Counters()
    telemetry.read_errors["npu0", "warboy", "io"] += 3
    telemetry.read_errors["npu7", "warboy", "io"] += 2  # which left
    found = series("read_errors_total", Moment(Snapshot((CARD,)), telemetry))
    assert [value for value in found.values() if value] == [3, 2]
    assert len(found) == len(Reason) + 2


def test_every_answer_to_a_scrape_has_a_series() -> None:
    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in (web, pages, server, messages)]
    named = set(re.findall(r"HTTPStatus\.([A-Z_]+)", "".join(sources))) - {"NOT_FOUND"}  # which is of other paths
    assert {status.name for status in SCRAPE_STATUSES} == named
    assert {dict(labels)["code"] for labels in series("scrapes_total")} == {str(each.value) for each in SCRAPE_STATUSES}


def test_every_failure_of_a_question_to_the_kubelet_has_a_series() -> None:
    found = {dict(labels)["code"] for labels in series("podresources_errors_total")}
    assert found == {*GRPC_CODES, NO_SOCKET, NO_THREAD, UNFORESEEN}


def test_where_the_kubelet_is_not_asked_nothing_is_counted_of_it() -> None:
    assert series("podresources_errors_total", Moment(Snapshot(), Counters())) == {}


def test_labels_of_the_exporters_own_series_are_no_names_for_static_ones() -> None:
    assert {label for row in TABLE for label in row.labels} - {"device", "arch"} == OWN_LABELS - {"le"}


def test_static_labels_are_on_the_exporters_own_series_too() -> None:
    """Or a rule that compares a card's series with what the exporter says of the card would find no pair."""
    for family in own_families(NOTHING_HAPPENED, (("cluster", "a"),)):
        assert {sample.labels.get("cluster") for sample in family.samples} == {"a"}, family.name
