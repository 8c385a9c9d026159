"""One node times five thousand, by hand."""

import pytest

from tools.scale.arithmetic import churn, ingest, kept, nfd_load, series_of_a_card
from tools.scale.inputs import Inputs, changed, described, names
from tools.scale.measured import Exposed, HostKind, LabelCost, PublicationCost, ScrapeCost
from tools.scale.page import alike, differences, rewritten, tables_of
from tools.scale.words import number, size, span, table

INPUTS = changed(Inputs(), "cluster.nodes=100")
EXPOSED = Exposed(series=95, text=20_000, openmetrics=20_100, gzip=3_000)


def test_a_hundred_nodes_of_a_hundred_series() -> None:
    made = ingest(EXPOSED, 10.0, INPUTS)
    assert (made.series, made.samples, made.network) == (10_000, 1_000.0, 30_000.0)
    assert made.memory == 10_000 * 4096
    assert made.disk == 1_000 * 86_400 * 1.5


def test_a_pod_an_hour_on_each_node() -> None:
    made = churn(2, INPUTS)
    assert (made.per_day, made.in_head, made.memory) == (4_800, 600, 600 * 4096)


def test_one_more_card_is_the_difference_of_two_hosts() -> None:
    few, many = (ScrapeCost(HostKind("warboy", cards), "", Exposed(35 + 79 * cards, 0, 0, 0)) for cards in (1, 8))
    assert series_of_a_card(few, many) == 79


def test_a_node_feature_costs_what_it_is_and_what_nfd_makes_of_it() -> None:
    sinks = (PublicationCost("node-feature", (), (), (), 1500, 0), PublicationCost("node-labels", (), (), (), 800, 0))
    feature, node = kept(LabelCost(10, 7, 382, sinks), INPUTS)
    assert (node.store, node.events, node.event_bytes) == (80_000, 2_000, 1_600_000)
    assert (feature.store, feature.events, feature.event_bytes) == (230_000, 2_100, 1_750_000)


def test_nfd_looks_each_minute_and_writes_what_changed() -> None:
    made = nfd_load(changed(INPUTS, "nfd.worker_period=50"))
    assert (made.rest, made.changed, made.total) == (2.0, 6.0, 300)


# -- inputs and words -------------------------------------------------------------------------------------------------


def test_every_input_can_be_changed_and_says_what_it_is() -> None:
    assert [each.name for each in described(Inputs())] == list(names())
    assert all(each.meaning.endswith(".") for each in described(Inputs()))
    for name in names():
        assert changed(Inputs(), f"{name}=7") != Inputs()


@pytest.mark.parametrize("change", ["cluster.nodes", "cluster.nodes=many", "cluster=1", "nothing=1", "server.x=1"])
def test_what_is_no_change_of_an_input_is_refused_with_the_inputs_there_are(change: str) -> None:
    with pytest.raises(ValueError, match=r"server\.seats"):
        changed(Inputs(), change)


def test_numbers_are_written_as_in_the_pages() -> None:
    assert [number(value) for value in (0, 5, 2.25, 83.3, 12_345)] == ["0", "5", "2.2", "83", "12 345"]
    assert [size(value) for value in (26, 1_718, 155_606, 11_800_000)] == ["26 B", "1.7 kB", "156 kB", "11.8 MB"]
    assert [span(value) for value in (0, 0.33, 40.2, 330, 1200, 75_000)] == [
        "0 s",
        "0.3 s",
        "40 s",
        "330 s",
        "20 min",
        "21 h",
    ]


def test_a_table_of_a_page_is_found_renewed_and_compared() -> None:
    page = "# A\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n"
    made = {"one": table(("a", "b"), [("1", ""), ("2", "3.0 kB")])}
    renewed = rewritten(page, made)
    assert tables_of(renewed) == {"one": "| a | b |\n|---|---|\n| 1 | |\n| 2 | 3.0 kB |", "two": "kept"}
    assert list(differences(renewed, made)) == []
    assert list(differences(page, made | {"three": ""}))[-1] == "there is no table three"
    wrong = renewed.replace("3.0 kB", "3.2 kB")
    assert list(differences(wrong, made)) == ["one: the page lacks | 2 | 3.0 kB |", "one: the page has | 2 | 3.2 kB |"]


def test_sizes_may_differ_a_little_and_counts_not_at_all() -> None:
    assert alike("| a | 10.0 kB |", "| a | 10.2 kB |")
    assert alike("| a | 999 B |", "| a | 1.0 kB |")
    assert not alike("| a | 10.0 kB |", "| a | 10.5 kB |")
    assert not alike("| a | 100 | 1.0 kB |", "| a | 101 | 1.0 kB |")
    assert not alike("| a | 1.0 kB |", "| a | 1.0 kB | 1.0 kB |")
