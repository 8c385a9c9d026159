"""The shipped rules in a real Prometheus that scrapes the real services: what happens to a card, an alert tells.

Rules take their time. So all that can happen to a card happens at once on one node, to a card of its own each; the
tests wait together.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from npu_core.arch import Arch
from npu_core.testing import CardPlan, FakeCard, rngd, warboy
from testkit.deployments.monitoring import RULES, document, rules, services
from testkit.services.configured import ConfiguredNode
from testkit.services.exporter import ScrapedNode
from testkit.services.node import RESOURCE, Node
from testkit.standins.pod_teller import pod
from tests.prometheus.tools import Prometheus

pytestmark = [pytest.mark.prometheus, pytest.mark.asyncio(loop_scope="module")]

EXPORTER, PLUGIN = "furiosa-npu-metrics-exporter", "furiosa-device-plugin"
DIES, COMPLETES, ERRS, LEAVES, HANGS = ((Arch.WARBOY, index) for index in range(5))
HEATS = (Arch.RENEGADE, 0)
NODE = ("", "")
"""Where an alert says what it is about, if it is no card."""
IN_TROUBLE = {(str(arch), f"npu{index}") for arch, index in (DIES, ERRS, HANGS, HEATS)} | {NODE}
"""All that an alert may be about: neither a card that is well nor one that is gone."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules, whose alerts wait for a second instead of minutes."""
    whole = document(RULES)
    for group in whole["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    path = tmp_path_factory.mktemp("hasty") / "rules.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Scene:
    """A node whose cards were well when Prometheus began to look at it."""

    node: ScrapedNode
    prometheus: Prometheus

    def card(self, which: tuple[Arch, int]) -> FakeCard:
        return self.node.host.card(*which)

    async def told_of(self, arch: str, device: str) -> set[str]:
        """The names of the alerts about this card, or the node; there is none about what is well."""
        alerts = await self.prometheus.alerts()
        assert {about for _, *about in alerts if tuple(about) not in IN_TROUBLE} == set()
        return {name for name, *about in alerts if tuple(about) == (arch, device)}

    async def fires(self, name: str) -> dict[str, str]:
        """Wait until the only alert of this name fires; returns its labels."""
        return await _fires(self.prometheus, name)


async def _fires(prometheus: Prometheus, name: str) -> dict[str, str]:
    [alert] = await prometheus.until(f'ALERTS{{alertname="{name}", alertstate="firing"}}', bool)
    return alert.labels


async def _calm(prometheus: Prometheus) -> None:
    """Until nothing is wrong. Before the first scrape no target is there, which is an alert of its own."""
    await prometheus.until("ALERTS", lambda found: not found)


def _prometheus(port: int, rules: Path, job: str) -> Prometheus:
    """A server that scrapes the port as one of the services, and has a target of each of the others."""
    return Prometheus(port, rules, job=job, beside=services().keys() - {job})


@asynccontextmanager
async def _scene(hasty: Path, *cards: CardPlan, half: int) -> AsyncIterator[Scene]:
    """A node of these cards; vision holds npu0, text half of another Warboy, nobody the others."""
    async with ScrapedNode(*cards) as node:
        node.kubelet.tell(
            [pod("resnet", "npu0pe0-1", namespace="vision"), pod("half", f"npu{half}pe0", namespace="text")]
        )
        await node.kubelet.start()
        await node.up()
        await node.until(lambda scrape: len(scrape.rows("furiosa_npu_pod_info")) == 2)
        async with _prometheus(node.port, hasty, EXPORTER) as prometheus:
            await prometheus.until("namespace:furiosa_npu_power_watts:sum", lambda found: len(found) == 2)
            await _calm(prometheus)
            yield Scene(node, prometheus)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def healthy(hasty: Path) -> AsyncIterator[Scene]:
    """Two Warboys and an RNGD, to look at."""
    async with _scene(hasty, warboy(0), warboy(1), rngd(0), half=1) as scene:
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trouble(hasty: Path) -> AsyncIterator[Scene]:
    """A card for each thing that can happen to one, which now happens, and two to which nothing does."""
    cards = [*(warboy(index) for index in range(6)), rngd(0), rngd(1)]
    async with _scene(hasty, *cards, half=LEAVES[1]) as scene:
        scene.card(DIES).die()
        scene.card(COMPLETES).set_error("axi_doorbell_done", 5_000)
        scene.card(ERRS).set_error("device_error", 2)
        scene.card(LEAVES).disappear()
        scene.card(HANGS).hang("alive")
        scene.card(HEATS).set_temperature(88_000, "PEAK")
        yield scene


async def test_a_service_that_nobody_scrapes_is_told(hasty: Path) -> None:
    async with ScrapedNode(warboy(0)) as node:
        await node.up()
        async with Prometheus(node.port, hasty, job=EXPORTER, beside=[PLUGIN]) as prometheus:
            lacking = await prometheus.until(
                'ALERTS{alertname="FuriosaNpuNotScraped", alertstate="firing"}',
                lambda found: [each.labels["job"] for each in found] == ["furiosa-npu-feature-discovery"],
            )
            assert lacking[0].labels["severity"] == "critical"


async def test_every_rule_can_be_evaluated_and_nothing_is_wrong_with_healthy_cards(healthy: Scene) -> None:
    assert await healthy.prometheus.rules() == {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    assert await healthy.prometheus.alerts() == set()


async def test_the_power_of_the_node_is_that_of_its_cards_and_of_who_holds_them(healthy: Scene) -> None:
    prometheus = healthy.prometheus
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


async def test_a_card_that_dies_is_told_alone(trouble: Scene) -> None:
    alert = await trouble.fires("FuriosaNpuDead")
    assert {name: alert[name] for name in ("device", "arch", "node", "severity")} == {
        "device": "npu0",
        "arch": "warboy",
        "node": "here",
        "severity": "critical",
    }
    assert await trouble.told_of("warboy", "npu0") == {"FuriosaNpuDead"}
    trouble.card(DIES).revive()
    await trouble.prometheus.until('ALERTS{arch="warboy", device="npu0"}', lambda found: not found)


async def test_a_card_that_is_hot_is_told(trouble: Scene) -> None:
    alert = await trouble.fires("FuriosaNpuHot")
    assert (alert["arch"], alert["device"]) == ("renegade", "npu0")
    assert await trouble.told_of("renegade", "npu0") == {"FuriosaNpuHot"}
    trouble.card(HEATS).set_temperature(96_000, "PEAK")
    await trouble.fires("FuriosaNpuOverheating")


async def test_errors_are_told_and_completions_are_not(trouble: Scene) -> None:
    completions = 'furiosa_npu_error{label="axi_doorbell_done", arch="warboy", device="npu1"} == 5000'
    await trouble.prometheus.until(completions, bool)
    alert = await trouble.fires("FuriosaNpuErrors")
    assert (alert["label"], alert["arch"], alert["device"]) == ("device_error", "warboy", "npu2")
    assert await trouble.told_of("warboy", "npu2") == {"FuriosaNpuErrors"}
    assert await trouble.told_of("warboy", "npu1") == set()


async def test_a_card_that_is_gone_is_lost_and_not_dead(trouble: Scene) -> None:
    await trouble.fires("FuriosaNpuLost")
    await trouble.prometheus.until('furiosa_npu_alive{device="npu3"} == 0', bool)
    assert await trouble.told_of(*NODE) == {"FuriosaNpuLost"}
    assert await trouble.told_of("warboy", "npu3") == set()


async def test_a_card_that_hangs_does_not_answer(trouble: Scene) -> None:
    alert = await trouble.fires("FuriosaNpuNotAnswering")
    assert (alert["arch"], alert["device"]) == ("warboy", "npu4")
    assert await trouble.told_of("warboy", "npu4") == {"FuriosaNpuNotAnswering"}


async def test_a_kubelet_that_does_not_listen_any_more_is_told(hasty: Path) -> None:
    async with Node(warboy(0)) as node:
        configured = ConfiguredNode(node, endpoint=True)
        await configured.up()
        async with _prometheus(configured.port, hasty, PLUGIN) as prometheus:
            await prometheus.until(f'npu_device_plugin_registered{{resource="{RESOURCE}"}} == 1', bool)
            await _calm(prometheus)
            await node.kubelet.aclose()
            assert (await _fires(prometheus, "FuriosaNpuNotRegistered"))["resource"] == RESOURCE
