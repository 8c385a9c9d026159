"""One node times five thousand, by hand."""

from tools.scale.arithmetic import churn, ingest, kept, nfd_load
from tools.scale.inputs import Inputs, changed, described, names
from tools.scale.measured import Exposed, LabelCost, PublicationCost
from tools.scale.page import alike

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


def test_sizes_may_differ_a_little_and_counts_not_at_all() -> None:
    assert alike("| a | 10.0 kB |", "| a | 10.2 kB |")
    assert alike("| a | 999 B |", "| a | 1.0 kB |")
    assert not alike("| a | 10.0 kB |", "| a | 10.5 kB |")
    assert not alike("| a | 100 | 1.0 kB |", "| a | 101 | 1.0 kB |")
    assert not alike("| a | 1.0 kB |", "| a | 1.0 kB | 1.0 kB |")
