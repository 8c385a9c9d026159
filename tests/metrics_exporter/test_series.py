"""Which series there are, under which labels, and what becomes of them under each policy."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from npu_core.arch import Arch
from npu_core.claims import Claim, Container, KnownCard
from npu_core.cores import CoreRange
from npu_core.counters import Clock, ErrorCounter, PeCounters, Utilization
from npu_core.device import ComponentVersion, Device, PciAddress
from npu_core.sensors import Quantity, Reading, Readings, Sensor
from npu_metrics_exporter.metrics.families import LABELS, TABLE
from npu_metrics_exporter.metrics.families import POD_INFO as POD_INFO_FAMILY
from npu_metrics_exporter.metrics.pattern import Pattern, compiled
from npu_metrics_exporter.metrics.podmap import PodMap
from npu_metrics_exporter.metrics.policy import ExportPolicy, PodLabels, SensorLabels, Units
from npu_metrics_exporter.metrics.series import Budget, families
from npu_metrics_exporter.metrics.snapshot import CardReport, Snapshot
from npu_metrics_exporter.metrics.values import CardView, Value, info
from testkit.strategies import pci_addresses
from tests.metrics_exporter.cards import (
    DEAD,
    LIVING,
    RNGD,
    SILENT,
    WALL,
    WARBOY,
    exposition,
    found,
    lines,
    number,
    of_card,
    report,
    snapshot,
    temperature,
)

IDENTIFIED = replace(
    report().device,
    uuid="B24A-1",
    pci=PciAddress.parse("0000:6d:00.0"),
    product="warboyB0",
    serial="WBY7",
    soc_rev="B0",
    driver=ComponentVersion.parse("1.9.2, 3def9c2"),
    firmware=ComponentVersion.parse("1.6.0, c1bebfd"),
)
SAID = replace(report(), device=IDENTIFIED)
TEMPERATURE = "furiosa_npu_hw_temperature"


@dataclass(frozen=True)
class Held:
    """What a container holds, as the kubelet says."""

    pod: str
    device_ids: tuple[str, ...]
    namespace: str = "ml"
    container: str = "main"
    resource: str = "beta.furiosa.ai/npu"


def pods(*held: Held, cards: tuple[tuple[Arch, int], ...] = (WARBOY,)) -> PodMap:
    claims = [
        Claim(each.resource, text, container=Container(each.namespace, each.pod, each.container))
        for each in held
        for text in each.device_ids
    ]
    return PodMap.of(claims, [KnownCard(Device(index, arch)) for arch, index in cards])


def warboy_line(value: str, **labels: str) -> str:
    """A series of a Warboy of which nothing more is known."""
    whole = {"arch": "warboy", "core": "0-1", "device": "npu0"} | labels
    return "{" + ",".join(f'{name}="{whole[name]}"' for name in sorted(whole)) + "} " + number(value)


# -- values -------------------------------------------------------------------------------------------------------


def wide(core: int, bits: int = 64) -> PeCounters:
    return PeCounters(CoreRange(core, core), 7, 3, None, bits)


def worked(computing: float | None) -> dict[str, object]:
    return {"utilization": (Utilization(CoreRange(1, 1), 0.5, computing),)}


def of_clock(domain: str, value: int, unit: str) -> dict[str, object]:
    return {"clocks": (Clock(domain, value, unit),)}


ERRORS: dict[str, object] = {"errors": (ErrorCounter("axi_post_error", 3), ErrorCounter("axi_doorbell_done", 9))}
SAYS: list[tuple[dict[str, object], str, list[tuple[str, dict[str, str]]]]] = [
    ({"vitals": LIVING}, "alive", [("1", {})]),
    ({"vitals": DEAD}, "alive", [("0", {})]),
    ({"vitals": SILENT}, "alive", []),
    ({"device": IDENTIFIED}, "alive", [("1", {"uuid": "B24A-1", "pci_bus_id": "0000:6d:00.0"})]),
    (ERRORS, "error", [("3", {"label": "axi_post_error"}), ("9", {"label": "axi_doorbell_done"})]),
    # Completed doorbells are no errors.
    (ERRORS, "errors_total", [("3", {"label": "axi_post_error"})]),
    (worked(0.25), "core_utilization", [("50.0", {"core": "1"})]),
    (worked(0.25), "core_utilization_ratio", [("0.5", {"core": "1"})]),
    (worked(0.25), "core_computing_ratio", [("0.25", {"core": "1"})]),
    (worked(None), "core_computing_ratio", []),
    # Counters of 32 bits wrap within seconds.
    ({"counters": (wide(0), wide(1, 32))}, "total_cycle_count", [("7", {"core": "0"})]),
    ({"counters": (wide(0), wide(1, 32))}, "core_cycles_total", [("7", {"core": "0"})]),
    (of_clock("pe3", 1_000_000_000, "Hz"), "core_frequency", [("1000", {"core": "3"})]),
    (of_clock("pe0", 1_000_500_000, "Hz"), "core_frequency", [("1000.5", {"core": "0"})]),
    (of_clock("pe3", 1200, "MHz"), "core_frequency_hertz", [("1200000000", {"core": "3"})]),
    (of_clock("ne tensor", 2000, "MHz"), "clock_frequency_hertz", [("2000000000", {"label": "ne tensor"})]),
    (of_clock("dram", 4266, "MT/s"), "clock_transfers_per_second", [("4266000000", {"label": "dram"})]),
    *((of_clock(domain, 5, "MHz"), "core_frequency_hertz", []) for domain in ("3", "pe0-1", "cpe0", "pe007", "pe300")),
    *(
        (of_clock(domain, 5, "MHz"), "clock_frequency_hertz", [("5000000", {"label": domain})])
        for domain in ("3", "pe0-1", "cpe0", "pe007", "pe300", "pe999999999")
    ),
    (of_clock("x", 1, "furlongs"), "clock_frequency_hertz", []),
    (of_clock("pe0", 1, "furlongs"), "core_frequency_hertz", []),
    ({"throttle_reason": 16}, "throttle_reason", [("16", {})]),
    ({"occupancy": (True, False)}, "core_occupied", [("1", {"core": "0"}), ("0", {"core": "1"})]),
    ({"performance_mode": "4 (FULL 1)"}, "performance_mode_info", [("1", {"mode": "4 (FULL 1)"})]),
    ({"performance_mode": ""}, "performance_mode_info", []),
    ({}, "performance_mode_info", []),
]
"""What a look says, and the series of one name then: value, and labels beside those of the card."""


@pytest.mark.parametrize(("fields", "name", "series"), SAYS)
def test_what_a_card_says_is_in_its_series(
    fields: dict[str, object], name: str, series: list[tuple[str, dict[str, str]]]
) -> None:
    whole = snapshot(replace(report(), **fields))  # type: ignore[arg-type]  # of a report
    assert lines(whole, f"furiosa_npu_{name}") == [warboy_line(value, **labels) for value, labels in series]


@pytest.mark.parametrize(
    ("quantity", "spec", "twin", "value", "in_base_units"),
    [
        (Quantity.TEMPERATURE, "hw_temperature", "hw_temperature_celsius", -5_500, "-5.5"),
        (Quantity.POWER, "hw_power", "hw_power_watts", 45_666_000, "45.666"),
        (Quantity.VOLTAGE, "hw_voltage", "hw_voltage_volts", 812, "0.812"),
        (Quantity.CURRENT, "hw_current", "hw_current_amperes", 310, "0.31"),
    ],
)
def test_a_reading_is_written_as_the_driver_said_it_and_its_twin_in_base_units(
    quantity: Quantity, spec: str, twin: str, value: int, in_base_units: str
) -> None:
    whole = snapshot(report(Reading(Sensor("npu0", quantity, 1, "A"), value)))
    assert lines(whole, f"furiosa_npu_{spec}") == [warboy_line(str(value), label="A")]
    assert lines(whole, f"furiosa_npu_{twin}") == [warboy_line(in_base_units, label="A")]


def test_two_families_may_have_a_card_of_the_same_number() -> None:
    found_lines = lines(snapshot(report(), of_card(*RNGD)), "furiosa_npu_alive")
    assert found_lines == [warboy_line("1"), warboy_line("1", arch="renegade", core="0-7")]


def test_a_card_that_left_is_dead_and_says_nothing_else() -> None:
    gone = snapshot(replace(SAID, uptime=5)).with_listing([], 1.0)
    names = {family.name for family in families(gone, PodMap(), ExportPolicy(), Budget(100))}
    assert names == {"furiosa_npu_alive"}


def test_of_two_entries_of_one_card_there_are_series_of_the_first_alone() -> None:
    twins = [replace(SAID, device=replace(IDENTIFIED, index=index), uptime=5) for index in (0, 1)]
    text = exposition(snapshot(*twins)).text.decode()
    assert 'device="npu0"' in text
    assert 'device="npu1"' not in text


def test_a_card_that_was_never_identified_is_dead_by_its_number() -> None:
    stuck = Snapshot().with_listing([found()], 0.0).with_failure(WARBOY, stuck=True, now=0.0)
    assert lines(stuck, "furiosa_npu_alive") == [warboy_line("0")]


def test_a_card_without_a_fresh_look_keeps_saying_what_it_is() -> None:
    old = snapshot(replace(SAID, uptime=5)).aged(100.0, max_age=30.0, grace=300.0)
    assert lines(old, "furiosa_npu_uptime") == []
    assert len(lines(old, "furiosa_npu_info")) == 1


def test_what_a_card_is_stands_in_the_labels_of_one_series() -> None:
    (line,) = lines(snapshot(SAID), "furiosa_npu_info", ExportPolicy(node="node-1"))
    assert line == warboy_line(
        "1",
        uuid="B24A-1",
        pci_bus_id="0000:6d:00.0",
        product="warboyB0",
        family="warboy",
        driver_version="1.9.2",
        driver_reference="3def9c2",
        firmware_version="1.6.0",
        serial="WBY7",
        soc_rev="B0",
        node="node-1",
    )
    (said,) = info(CardView(snapshot(report()).cards[0], {}))
    assert said == Value(1, {"family": "warboy"})


# -- sensors' labels ----------------------------------------------------------------------------------------------


def sensor_labels(whole: Snapshot, policy: ExportPolicy | None = None) -> list[str]:
    found_lines = lines(whole, TEMPERATURE, policy)
    return [match[1] for line in found_lines if (match := re.search(r'label="([^"]*)"', line))]


NE = temperature("NE", 1), temperature("NE", 4)
LOWER = ExportPolicy(sensor_labels=SensorLabels.LOWER)


@pytest.mark.parametrize(
    ("readings", "policy", "labels"),
    [
        ((temperature("PCI 3.3V PWR"),), None, ["PCI 3.3V PWR"]),
        ((temperature("PCI 3.3V PWR"), temperature("PEAK", 2)), LOWER, ["pci_3_3v_pwr", "peak"]),
        ((temperature("Peak", 1), temperature("PEAK", 2)), LOWER, ["peak_1", "peak_2"]),
        ((temperature("온도", 7),), LOWER, ["7"]),
        (NE, None, ["NE_1", "NE_4"]),
        # The choice is by the label that is exported, and renames none of the others.
        (NE, ExportPolicy(exclude_sensors=(compiled("NE_1"),)), ["NE_4"]),
        (NE, ExportPolicy(include_sensors=(compiled("NE"),)), []),
        (NE, ExportPolicy(include_sensors=(compiled("NE.*"),)), ["NE_1", "NE_4"]),
    ],
)
def test_a_sensor_is_called_as_the_policy_has_it(
    readings: tuple[Reading, ...], policy: ExportPolicy | None, labels: list[str]
) -> None:
    assert sensor_labels(snapshot(report(*readings)), policy) == labels


def test_a_sensor_keeps_its_label_while_its_namesake_cannot_be_read() -> None:
    whole = snapshot(report(*NE))
    assert sensor_labels(whole.with_report(report(NE[1]), WALL)) == ["NE_4"]


def test_a_sensor_keeps_its_label_when_its_namesake_speaks_for_the_first_time() -> None:
    twins = temperature("NE", 1), temperature("NE", 4)
    whole = snapshot(report(twins[0], silent=(twins[1].sensor,)))
    assert sensor_labels(whole) == ["NE_1"]
    assert sensor_labels(whole.with_report(report(*twins), WALL)) == ["NE_1", "NE_4"]


# -- the policy ---------------------------------------------------------------------------------------------------

FULL = replace(
    SAID,
    uptime=5,
    errors=(ErrorCounter("axi_post_error", 3),),
    readings=Readings((temperature("Average"), temperature("Peak", 2))),
    clocks=(Clock("pe0", 1, "MHz"), Clock("ne", 1, "MHz")),
    counters=(PeCounters(CoreRange(0, 0), 7, 3, None, 64),),
    utilization=(Utilization(CoreRange(0, 0), 0.5, 0.5),),
    throttle_reason=0,
)


def exported(policy: ExportPolicy, whole: Snapshot | None = None) -> set[str]:
    made = families(whole or snapshot(FULL), PodMap(), policy, Budget(policy.max_series))
    return {sample.name for family in made for sample in family.samples}


def test_both_twins_are_exported_unless_one_is_chosen() -> None:
    spec, base = exported(ExportPolicy(units=Units.SPEC)), exported(ExportPolicy(units=Units.BASE))
    assert {"furiosa_npu_uptime", TEMPERATURE, "furiosa_npu_error"} <= spec - base
    assert {"furiosa_npu_uptime_seconds", f"{TEMPERATURE}_celsius", "furiosa_npu_errors_total"} <= base - spec
    assert spec | base == exported(ExportPolicy())


def test_what_has_one_name_only_is_exported_in_either_unit() -> None:
    both = exported(ExportPolicy(units=Units.SPEC)) & exported(ExportPolicy(units=Units.BASE))
    assert {"furiosa_npu_alive", "furiosa_npu_info", "furiosa_npu_clock_frequency_hertz"} <= both


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(map(compiled, texts))


def test_families_are_chosen_by_the_name_in_queries() -> None:
    whole = exported(ExportPolicy())
    assert whole - exported(ExportPolicy(exclude=patterns(".*_total"))) == {
        name for name in whole if name.endswith("_total")
    }
    chosen = ExportPolicy(include=patterns("furiosa_npu_uptime.*"), exclude=patterns(".*_seconds"))
    assert exported(chosen) == {"furiosa_npu_uptime"}


def test_every_series_has_the_static_labels() -> None:
    text = exposition(snapshot(FULL), ExportPolicy(static_labels=(("cluster", "c1"),))).text.decode()
    assert all('cluster="c1"' in line for line in text.splitlines() if not line.startswith("#"))


def test_a_static_label_never_replaces_one_of_the_card() -> None:
    policy = ExportPolicy(static_labels=(("device", "mine"),))
    assert lines(snapshot(report()), "furiosa_npu_alive", policy) == [warboy_line("1")]


def test_labels_can_be_dropped() -> None:
    policy = ExportPolicy(drop=frozenset({"uuid", "pci_bus_id", "core"}))
    assert lines(snapshot(SAID), "furiosa_npu_alive", policy) == ['{arch="warboy",device="npu0"} 1']


def test_only_some_labels_can_be_kept() -> None:
    (line,) = lines(snapshot(FULL), "furiosa_npu_info", ExportPolicy(keep=frozenset({"serial"})))
    assert line == '{device="npu0",serial="WBY7"} 1'


def test_labels_that_tell_series_apart_cannot_be_dropped() -> None:
    policy = ExportPolicy(drop=LABELS)
    assert lines(snapshot(FULL), TEMPERATURE, policy) == [
        '{device="npu0",label="Average"} 45000',
        '{device="npu0",label="Peak"} 45000',
    ]
    assert lines(snapshot(FULL), "furiosa_npu_core_cycles_total", policy) == ['{core="0",device="npu0"} 7']


def test_the_family_cannot_be_dropped_where_two_cards_have_the_same_number() -> None:
    policy = ExportPolicy(drop=frozenset({"arch", "core"}))
    assert lines(snapshot(report(), of_card(*RNGD)), "furiosa_npu_alive", policy) == [
        '{arch="warboy",device="npu0"} 1',
        '{arch="renegade",device="npu0"} 1',
    ]


def test_series_beyond_the_cap_are_dropped_and_counted_and_life_comes_first() -> None:
    everything = Budget(1000)
    total = sum(len(family.samples) for family in families(snapshot(FULL), PodMap(), ExportPolicy(), everything))
    assert (everything.dropped, everything.left) == (0, 1000 - total)
    budget = Budget(2)
    made = list(families(snapshot(FULL), PodMap(), ExportPolicy(), budget))
    assert [family.name for family in made] == ["furiosa_npu_alive", "furiosa_npu_info"]
    assert (budget.capped, budget.repeated, budget.dropped) == (total - 2, 0, total - 2)


def test_a_family_is_made_when_it_is_asked_for() -> None:
    budget = Budget(100)
    made = families(snapshot(FULL), PodMap(), ExportPolicy(), budget)
    assert [(next(made).name, budget.left) for _ in range(2)] == [("furiosa_npu_alive", 99), ("furiosa_npu_info", 98)]


def test_a_series_that_would_be_there_twice_is_there_once_and_counted() -> None:
    budget = Budget(100)
    whole = snapshot(replace(report(), errors=(ErrorCounter("a", 1), ErrorCounter("a", 2))))
    (family,) = families(whole, PodMap(), ExportPolicy(include=patterns("furiosa_npu_error")), budget)
    assert ([sample.value for sample in family.samples], budget.repeated) == ([1], 1)


# -- holders ------------------------------------------------------------------------------------------------------

POD_INFO = "furiosa_npu_pod_info"
INLINE = ExportPolicy(pod_labels=PodLabels.INLINE)
OWNER = {"namespace": "ml", "pod": "a", "container": "main"}


def test_holders_are_series_of_their_own_to_join_with() -> None:
    held = pods(Held("a", ("npu0pe0",)), Held("b", ("npu0pe1",)))
    assert lines(snapshot(report()), POD_INFO, pods=held) == [
        warboy_line("1", core="0", resource="beta.furiosa.ai/npu", **OWNER),
        warboy_line("1", core="1", resource="beta.furiosa.ai/npu", **(OWNER | {"pod": "b"})),
    ]
    assert lines(snapshot(report()), "furiosa_npu_alive", pods=held) == [warboy_line("1")]


def test_what_tells_holders_apart_cannot_be_dropped() -> None:
    held = pods(Held("a", ("npu0pe0",)), Held("b", ("npu0pe1",)))
    assert lines(snapshot(report()), POD_INFO, ExportPolicy(drop=LABELS), held) == [
        f'{{container="main",core="{core}",device="npu0",namespace="ml",pod="{pod}"}} 1'
        for core, pod in (("0", "a"), ("1", "b"))
    ]


@pytest.mark.parametrize("policy", [ExportPolicy(pod_labels=PodLabels.OFF), ExportPolicy(exclude=patterns(POD_INFO))])
def test_holders_can_be_left_out(policy: ExportPolicy) -> None:
    assert lines(snapshot(report()), POD_INFO, policy, pods(Held("a", ("npu0pe0-1",)))) == []


def test_the_holder_of_a_whole_card_can_stand_on_its_series() -> None:
    held = pods(Held("a", ("npu0pe0-1",)))
    whole = snapshot(replace(report(), clocks=(Clock("pe007", 5, "MHz"),)))
    assert lines(whole, "furiosa_npu_alive", INLINE, held) == [warboy_line("1", **OWNER)]
    assert len(lines(whole, POD_INFO, INLINE, held)) == 1
    assert lines(whole, "furiosa_npu_clock_frequency_hertz", INLINE, held) == [
        warboy_line("5000000", label="pe007", **OWNER)
    ]


def test_what_a_card_is_stays_the_same_whoever_holds_it() -> None:
    held = pods(Held("a", ("npu0pe0-1",)))
    assert lines(snapshot(SAID), "furiosa_npu_info", INLINE, held) == lines(snapshot(SAID), "furiosa_npu_info")


def test_a_card_that_is_shared_has_holders_on_the_series_of_its_cores_only() -> None:
    held = pods(Held("a", ("npu0pe0",)), Held("b", ("npu0pe1",)))
    whole = snapshot(replace(report(), occupancy=(True, False)))
    assert lines(whole, "furiosa_npu_alive", INLINE, held) == [warboy_line("1")]
    assert lines(whole, "furiosa_npu_core_occupied", INLINE, held) == [
        warboy_line("1", core="0", **OWNER),
        warboy_line("0", core="1", **(OWNER | {"pod": "b"})),
    ]


def test_a_card_under_two_pods_has_both_to_join_with_and_none_on_its_series() -> None:
    held = pods(Held("a", ("npu0pe0-1",)), Held("b", ("npu0pe0-1",)))
    assert len(lines(snapshot(report()), POD_INFO, INLINE, held)) == 2
    assert lines(snapshot(report()), "furiosa_npu_alive", INLINE, held) == [warboy_line("1")]


# -- anything -----------------------------------------------------------------------------------------------------

T = TypeVar("T")
counts = st.integers(0, 2**64)
openmetrics_families: Callable[[str], Iterable[Metric]] = parse_openmetrics

names = st.one_of(
    st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('\\"\n\r{},=# ')), max_size=8),
    st.sampled_from(["Peak", "PEAK", "peak", "peak_1", "pe0", "pe1", "pe07", "pe300"]),
)
cores = st.sampled_from([CoreRange(0, 0), CoreRange(1, 1), CoreRange(0, 1), CoreRange(0, 7)])
ratios = st.floats(0, 1)


def few(each: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(each, max_size=3).map(tuple)


def identities() -> st.SearchStrategy[Device]:
    texts, versions = st.none() | names, st.none() | names.map(ComponentVersion.parse)
    return st.builds(
        Device,
        index=st.integers(0, 1),
        arch=st.sampled_from(Arch),
        product=texts,
        uuid=texts,
        serial=texts,
        pci=st.none() | pci_addresses(),
        driver=versions,
        firmware=versions,
    )


def readings() -> st.SearchStrategy[Reading]:
    chips = st.sampled_from(["", "npu0"])
    sensors = st.builds(Sensor, st.just("npu0"), st.sampled_from(Quantity), st.integers(0, 2), names, chips)
    return st.builds(Reading, sensors, st.integers(-(2**63), 2**63))


def reports() -> st.SearchStrategy[CardReport]:
    return st.builds(
        CardReport,
        device=identities(),
        taken=st.just(0.0),
        vitals=st.sampled_from([LIVING, DEAD, SILENT]),
        uptime=st.none() | counts,
        errors=few(st.builds(ErrorCounter, names, counts)),
        readings=st.builds(Readings, few(readings())),
        clocks=few(st.builds(Clock, names, counts, st.sampled_from(["MHz", "Hz", "MT/s"]))),
        performance_mode=st.none() | names,
        throttle_reason=st.none() | counts,
        occupancy=few(st.booleans()),
        counters=few(st.builds(PeCounters, cores, counts, counts, st.none(), st.sampled_from([32, 64]))),
        utilization=few(st.builds(Utilization, cores, ratios, st.none() | ratios)),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    whole = snapshot(*draw(st.lists(reports(), max_size=3)))
    for key in draw(st.sets(st.sampled_from([card.key for card in whole.cards])) if whole.cards else st.just(set())):
        whole = whole.with_failure(key, stuck=draw(st.booleans()), now=0.0)
    return whole.with_listing([], 1.0) if draw(st.integers(0, 9)) == 0 else whole


def pod_maps() -> st.SearchStrategy[PodMap]:
    ids = few(st.sampled_from(["npu0pe0", "npu0pe1", "npu0pe0-1", "npu1pe0-3"]))
    held = st.builds(Held, pod=st.sampled_from(["a", "b"]), device_ids=ids)
    return few(held).map(lambda each: pods(*each, cards=(WARBOY, RNGD, (Arch.RENEGADE, 1))))


def policies() -> st.SearchStrategy[ExportPolicy]:
    chosen = st.frozensets(st.sampled_from(sorted(LABELS)))
    return st.builds(
        ExportPolicy,
        units=st.sampled_from(Units),
        sensor_labels=st.sampled_from(SensorLabels),
        pod_labels=st.sampled_from(PodLabels),
        static_labels=st.sampled_from([(), (("cluster", 'c"1\\\n'),)]),
        keep=st.none() | chosen,
        drop=chosen,
        max_series=st.sampled_from([0, 5, 10_000]),
        node=names,
    )


@given(snapshots(), pod_maps(), policies())
def test_anything_is_two_documents_that_parse_and_say_the_same_with_no_series_twice(
    whole: Snapshot, held: PodMap, policy: ExportPolicy
) -> None:
    made = exposition(whole, policy, held)
    documents = [list(parse_text(made.text.decode())), list(openmetrics_families(made.openmetrics.decode()))]
    texts, openmetrics = (
        [(sample.name, frozenset(sample.labels.items())) for family in found_families for sample in family.samples]
        for found_families in documents
    )
    assert texts == openmetrics
    assert len(set(texts)) == len(texts) <= policy.max_series
    assert all(dict(labels)["device"] for _, labels in texts)
    documented = [family.name for family in (*TABLE, POD_INFO_FAMILY)]
    found_names = [each.name for each in families(whole, held, policy, Budget(policy.max_series))]
    assert found_names == [name for name in documented if name in found_names]


def test_a_label_that_is_no_unicode_does_not_cost_the_scrape() -> None:
    found = exposition(snapshot(FULL), ExportPolicy(node="a\udcff")).text
    assert b'node="a?"' in found
