"""The shipped rules in a real Prometheus that scrapes the real services: what happens to a card, an alert tells."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from contract.configured import ConfiguredNode
from contract.exporter import ScrapedNode
from contract.node import RESOURCE, Node
from deployments.monitoring import RULES, document, rules
from npu_core.arch import Arch
from npu_core.testing import rngd, warboy
from prometheus.tools import Prometheus
from standins.pod_teller import pod

pytestmark = pytest.mark.prometheus
Alerts = set[tuple[str, str, str]]


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """The rules, whose alerts wait for a second instead of minutes."""
    whole = document(RULES)
    for group in whole["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


@pytest_asyncio.fixture
async def node() -> AsyncIterator[ScrapedNode]:
    """Two Warboys and an RNGD; vision holds npu0, text half of npu1, nobody the RNGD."""
    async with ScrapedNode(warboy(0), warboy(1), rngd(0)) as node:
        node.kubelet.tell([pod("resnet", "npu0pe0-1", namespace="vision"), pod("half", "npu1pe0", namespace="text")])
        await node.kubelet.start()
        await node.up()
        await node.until(lambda scrape: len(scrape.rows("furiosa_npu_pod_info")) == 2)
        yield node


@pytest_asyncio.fixture
async def prometheus(node: ScrapedNode, hasty: Path) -> AsyncIterator[Prometheus]:
    async with Prometheus(node.port, hasty) as prometheus:
        await prometheus.until("namespace:furiosa_npu_power_watts:sum", lambda found: len(found) == 2)
        assert await prometheus.alerts() == set()
        yield prometheus


def _firing(name: str) -> str:
    return f'ALERTS{{alertname="{name}", alertstate="firing"}}'


async def test_every_rule_can_be_evaluated_and_nothing_is_wrong_with_healthy_cards(prometheus: Prometheus) -> None:
    assert await prometheus.rules() == {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    assert await prometheus.alerts() == set()


async def test_the_power_of_the_node_is_that_of_its_cards_and_of_who_holds_them(prometheus: Prometheus) -> None:
    found = await prometheus.query("device:furiosa_npu_power_watts:max")
    watts = {(each.labels["arch"], each.labels["device"]): each.value for each in found}
    assert watts.keys() == {("warboy", "npu0"), ("warboy", "npu1"), ("renegade", "npu0")}
    assert all(value > 0 for value in watts.values())
    [whole] = await prometheus.query("node:furiosa_npu_power_watts:sum")
    assert whole.labels["node"] == "here"
    assert whole.value == pytest.approx(sum(watts.values()))
    of = {
        each.labels["namespace"]: each.value for each in await prometheus.query("namespace:furiosa_npu_power_watts:sum")
    }
    assert of == {"vision": watts["warboy", "npu0"], "text": watts["warboy", "npu1"]}


async def test_a_card_that_dies_is_told_alone(node: ScrapedNode, prometheus: Prometheus) -> None:
    node.host.card(Arch.WARBOY, 0).die()
    [alert] = await prometheus.until(_firing("FuriosaNpuDead"), bool)
    assert {name: alert.labels[name] for name in ("device", "arch", "node", "severity")} == {
        "device": "npu0",
        "arch": "warboy",
        "node": "here",
        "severity": "critical",
    }
    assert await prometheus.alerts() == {("FuriosaNpuDead", "warboy", "npu0")}
    node.host.card(Arch.WARBOY, 0).revive()
    await prometheus.until("ALERTS", lambda found: not found)


async def test_a_card_that_is_hot_is_told(node: ScrapedNode, prometheus: Prometheus) -> None:
    node.host.card(Arch.RENEGADE, 0).set_temperature(88_000, "PEAK")
    [alert] = await prometheus.until(_firing("FuriosaNpuHot"), bool)
    assert (alert.labels["arch"], alert.labels["device"]) == ("renegade", "npu0")
    assert await prometheus.alerts() == {("FuriosaNpuHot", "renegade", "npu0")}
    node.host.card(Arch.RENEGADE, 0).set_temperature(96_000, "PEAK")
    await prometheus.until(_firing("FuriosaNpuOverheating"), bool)


async def test_errors_are_told_and_completions_are_not(node: ScrapedNode, prometheus: Prometheus) -> None:
    node.host.card(Arch.WARBOY, 0).set_error("axi_doorbell_done", 5_000)
    await prometheus.until('furiosa_npu_error{label="axi_doorbell_done", arch="warboy", device="npu0"} == 5000', bool)
    node.host.card(Arch.WARBOY, 1).set_error("device_error", 2)
    [alert] = await prometheus.until(_firing("FuriosaNpuErrors"), bool)
    assert alert.labels["label"] == "device_error"
    assert await prometheus.alerts() == {("FuriosaNpuErrors", "warboy", "npu1")}


async def test_a_card_that_is_gone_is_lost_and_not_dead(node: ScrapedNode, prometheus: Prometheus) -> None:
    node.host.card(Arch.WARBOY, 1).disappear()
    await prometheus.until(_firing("FuriosaNpuLost"), bool)
    await prometheus.until('furiosa_npu_alive{device="npu1"} == 0', bool)
    assert {name for name, *_ in await prometheus.alerts()} == {"FuriosaNpuLost"}


async def test_a_card_that_hangs_does_not_answer(node: ScrapedNode, prometheus: Prometheus) -> None:
    node.host.card(Arch.WARBOY, 1).hang("alive")
    await prometheus.until(_firing("FuriosaNpuNotAnswering"), bool)
    assert await prometheus.alerts() == {("FuriosaNpuNotAnswering", "warboy", "npu1")}


async def test_a_kubelet_that_does_not_listen_any_more_is_told(hasty: Path) -> None:
    async with Node(warboy(0)) as node:
        configured = ConfiguredNode(node, endpoint=True)
        await configured.up()
        async with Prometheus(configured.port, hasty) as prometheus:
            await prometheus.until(f'npu_device_plugin_registered{{resource="{RESOURCE}"}} == 1', bool)
            assert await prometheus.alerts() == set()
            await node.kubelet.aclose()
            [alert] = await prometheus.until(_firing("FuriosaNpuNotRegistered"), bool)
            assert alert.labels["resource"] == RESOURCE
