"""A real Prometheus scrapes the real exporter: what its queries then say of the cards and of who holds them.

One server for all: what happens to a card happens to one that no other test looks at.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.sensors import Quantity
from npu_core.testing import SensorPlan, rngd, warboy
from testkit.services.exporter import ScrapedNode
from testkit.standins.pod_teller import pod
from tests.prometheus.relay import TEXT, Relay, field
from tests.prometheus.tools import Prometheus, promtool

pytestmark = [pytest.mark.prometheus, pytest.mark.asyncio(loop_scope="module")]

POWER = 'furiosa_npu_hw_power_watts{label="PCI Total RMS PWR"}'
OPENMETRICS = "application/openmetrics-text"
RENEGADE = "beta.furiosa.ai/npu-renegade"
PODS = (
    pod("resnet", "npu0pe0-1", namespace="vision"),
    pod("half", "npu1pe0", namespace="text"),
    pod("llama", "npu0pe0-7", namespace="text", resource=RENEGADE),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A node, and the Prometheus that scrapes it."""

    node: ScrapedNode
    prometheus: Prometheus
    relay: Relay


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """Four Warboys and an RNGD; a pod holds npu0, another one half of npu1, a third the RNGD."""
    async with ScrapedNode(warboy(0), warboy(1), warboy(2), warboy(3), rngd(0)) as node:
        card = node.host.card(Arch.WARBOY, 0)
        card.set_sensor(Quantity.POWER, _channel(card.plan.sensors, "PCI Total RMS PWR"), 17_250_000)
        card.set_temperature(45_500, "Average")
        node.kubelet.tell(PODS)
        await node.kubelet.start()
        await node.up()
        await node.until(lambda scrape: len(scrape.rows("furiosa_npu_pod_info")) == 3)
        yield node


def _channel(sensors: Iterable[SensorPlan], label: str) -> int:
    return next(sensor.channel for sensor in sensors if sensor.label == label)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(node: ScrapedNode) -> AsyncIterator[Scene]:
    async with Relay(node.port) as relay, Prometheus(relay.port) as prometheus:
        yield Scene(node, prometheus, relay)


async def test_the_queries_of_an_operator_find_watts_degrees_and_the_pod_of_a_card(scene: Scene) -> None:
    prometheus = scene.prometheus
    assert await prometheus.value(f'{POWER[:-1]}, device="npu0"}}') == 17.25
    assert await prometheus.value('furiosa_npu_hw_power{device="npu0", label="PCI Total RMS PWR"}') == 17_250_000
    average = '{device="npu0", label="Average"}'
    assert await prometheus.value(f"furiosa_npu_hw_temperature_celsius{average}") == 45.5
    assert await prometheus.value(f"furiosa_npu_hw_temperature{average}") == 45_500

    join = "* on (instance, arch, device) group_left (namespace, pod, container)"
    [sample] = await prometheus.query(f'{POWER[:-1]}, device="npu0"}} {join} furiosa_npu_pod_info')
    assert sample.value == 17.25
    assert {name: sample.labels[name] for name in ("namespace", "pod", "container", "device", "arch")} == {
        "namespace": "vision",
        "pod": "resnet",
        "container": "main",
        "device": "npu0",
        "arch": "warboy",
    }


async def test_cards_of_two_families_with_one_name_are_told_apart(scene: Scene) -> None:
    join = "* on (instance, arch, device) group_left (pod) furiosa_npu_pod_info"
    found = await scene.prometheus.query(f'furiosa_npu_alive{{device="npu0"}} {join}')
    assert {(sample.labels["arch"], sample.labels["pod"]) for sample in found} == {
        ("warboy", "resnet"),
        ("renegade", "llama"),
    }


async def test_the_core_of_half_a_card_is_joined_with_who_holds_it(scene: Scene) -> None:
    found = await scene.prometheus.query("furiosa_npu_pod_info")
    assert {(row.labels["device"], row.labels["core"], row.labels["pod"]) for row in found} == {
        ("npu0", "0-1", "resnet"),
        ("npu1", "0", "half"),
        ("npu0", "0-7", "llama"),
    }
    assert {row.labels["resource"] for row in found} == {"beta.furiosa.ai/npu", RENEGADE}


async def test_by_itself_it_takes_openmetrics_compressed(scene: Scene) -> None:
    head = scene.relay.answers[-1]
    assert field(head, "content-type").startswith(OPENMETRICS)
    assert field(head, "content-encoding") == "gzip"
    assert not await scene.prometheus.trouble()


async def test_as_text_it_reads_the_same_of_every_card(scene: Scene) -> None:
    every = '{__name__=~"furiosa_npu_(alive|info|hw_.*|pod_info|error.*|throttle.*|core_freq.*)"}'
    async with Relay(scene.node.port, TEXT) as relay, Prometheus(relay.port) as as_text:
        assert field(relay.answers[-1], "content-type").startswith("text/plain")
        readings = [
            {(_identity(sample.labels), sample.value) for sample in await prometheus.query(every)}
            for prometheus in (scene.prometheus, as_text)
        ]
        assert not await as_text.trouble()
    assert len(readings[0]) > 50
    assert readings[0] == readings[1]


def _identity(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in labels.items() if item[0] != "instance")


async def test_counters_are_counters_and_gauges_gauges(scene: Scene) -> None:
    types = await scene.prometheus.types()
    assert types["furiosa_npu_error"] == "gauge"
    assert types["furiosa_npu_errors"] == "counter"
    assert types["furiosa_npu_uptime"] == "gauge"
    assert types["furiosa_npu_hw_power_watts"] == "gauge"
    assert types["furiosa_npu_exporter_collect_duration_seconds"] == "histogram"


async def test_errors_that_happen_are_an_increase(scene: Scene) -> None:
    scene.node.host.card(Arch.WARBOY, 2).set_error("device_error", 5)
    increase = 'increase(furiosa_npu_errors_total{device="npu2", label="device_error"}[1m])'
    await scene.prometheus.until(increase, lambda found: bool(found) and found[0].value > 0)


async def test_a_card_that_is_gone_is_dead_at_once_and_its_values_end(scene: Scene) -> None:
    """A series that ends is gone at the next scrape, because samples carry no times of their own."""
    scene.node.host.card(Arch.WARBOY, 3).disappear()
    await scene.prometheus.until('furiosa_npu_alive{device="npu3"} == 0', bool)
    await scene.prometheus.until('furiosa_npu_hw_power_watts{device="npu3"}', lambda found: not found)
    assert await scene.prometheus.value('furiosa_npu_alive{device="npu0", arch="warboy"}') == 1


async def test_a_pod_that_ends_leaves_its_card_s_series_as_they_are(scene: Scene) -> None:
    # Another pod runs on: a kubelet that lists none at all may not know its pods.
    scene.node.kubelet.tell([pod("without-npu")])
    try:
        await scene.prometheus.until("furiosa_npu_pod_info", lambda found: not found)
        assert await scene.prometheus.value(f'{POWER[:-1]}, device="npu0"}}') == 17.25
    finally:
        scene.node.kubelet.tell(PODS)
        await scene.prometheus.until("furiosa_npu_pod_info", lambda found: len(found) == len(PODS))


@pytest.mark.parametrize("path", ["/metrics"])
async def test_promtool_has_nothing_to_say(node: ScrapedNode, path: str) -> None:
    text = (await node.get(path)).text
    checked = promtool("check", "metrics", given=text)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
