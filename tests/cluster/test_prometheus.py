"""A real Prometheus finds the services through the API server, with the configuration and rules that are shipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.deployments.monitoring import rules
from testkit.waiting import until
from tools.cluster.node import DAEMONS, Node
from tools.cluster.programs import MissingError
from tools.cluster.prometheus import BY_ANNOTATIONS, Prometheus
from tools.cluster.skipping import demand

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

UP = dict.fromkeys(DAEMONS, "up")


@pytest.fixture
def prometheus(node: Node, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus with the shipped scrape configuration, the shipped role and the shipped rules."""
    try:
        made = Prometheus(node, tmp_path)
    except MissingError as error:
        demand(str(error))
    with made:
        yield made


def test_the_shipped_configuration_finds_the_services_and_the_shipped_rules_tell_of_a_dead_card(
    node: Node, prometheus: Prometheus
) -> None:
    node.run_pod("holds", 1)
    until(lambda: prometheus.targets() == UP, "the three services are up", instead=prometheus.targets)
    temperatures = until(lambda: prometheus.query("max by (node, device) (furiosa_npu_hw_temperature_celsius)"), "°C")
    assert {labels["device"] for labels, _ in temperatures} == {"npu0", "npu1", "npu2", "npu3"}
    assert {labels["node"] for labels, _ in temperatures} == {node.name}
    assert all(10 < celsius < 80 for _, celsius in temperatures)
    held = until(lambda: prometheus.query('furiosa_npu_pod_info{pod="holds"}'), "the pod's card")
    [(labels, _)] = held
    assert (labels["namespace"], labels["container"]) == ("default", "main")
    assert f"{labels['device']}pe{labels['core']}" == node.units_of("holds")
    until(lambda: prometheus.query('namespace:furiosa_npu_power_watts:sum{namespace="default"}'), "the pod's power")
    assert prometheus.rules() == {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    # A rule may have seen the time before Prometheus had found every service: its alert is pending until the next look.
    until(lambda: prometheus.alerts() == [], "no alert is pending", instead=prometheus.alerts)

    node.card(2).die()
    dead = until(lambda: _alert(prometheus, "FuriosaNpuDead"), "the alert", instead=prometheus.alerts)
    assert (dead["labels"]["node"], dead["labels"]["device"]) == (node.name, "npu2")
    # The rule waits for a minute.
    assert dead["state"] == "pending"
    firing = {each["labels"]["alertname"] for each in prometheus.alerts()}
    assert firing <= {"FuriosaNpuDead", "FuriosaNpuUnitsUnhealthy"}


def _alert(prometheus: Prometheus, name: str) -> dict[str, Any]:
    """The alert of that name that is pending or fires; empty if there is none."""
    return next((each for each in prometheus.alerts() if each["labels"]["alertname"] == name), {})


def test_a_prometheus_that_follows_annotations_finds_the_exporter_s_service(node: Node, tmp_path: Path) -> None:
    try:
        made = Prometheus(node, tmp_path, annotated=True)
    except MissingError as error:
        demand(str(error))
    with made as prometheus:
        until(lambda: prometheus.targets() == {BY_ANNOTATIONS: "up"}, "one target", instead=prometheus.targets)
        alive = until(lambda: prometheus.query("furiosa_npu_alive"), "the cards")
        assert sorted(labels["device"] for labels, _ in alive) == ["npu0", "npu1", "npu2", "npu3"]
