"""What the shipped rules and dashboard need is there at the first scrape of each service that is ready.

A counter that comes later comes as 1, and ``increase()`` does not see what made it. What is needed is read out of the
rules and the dashboard, so that a new alert or panel is tried here without a word.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import count

import pytest

from npu_core.cores import CoreRange
from npu_core.testing import rngd, warboy
from testkit.deployments.exported import exported
from testkit.deployments.monitoring import expressions
from testkit.deployments.promql import Selector, names
from testkit.services.configured import ConfiguredNode, free_port
from testkit.services.discovery import LabelledNode
from testkit.services.exporter import Scrape, ScrapedNode, fetch
from testkit.services.node import Node
from testkit.standins.pod_teller import pod
from testkit.waiting import PATIENCE

running = pytest.mark.asyncio(loop_scope="module")

CARDS = (warboy(0), rngd(0))
"""One of each family, since neither has every sensor."""
JOBS = {
    "furiosa_npu_": "furiosa-npu-metrics-exporter",
    "npu_device_plugin_": "furiosa-device-plugin",
    "npu_feature_discovery_": "furiosa-npu-feature-discovery",
}
"""Whose metrics begin so."""
LATER = {
    "furiosa_npu_core_utilization_ratio": "what was done between two looks",
    "furiosa_npu_pod_info": "the kubelet is asked while the cards are looked at",
}
"""Metrics that are not there at the first scrape, and why. No counter is among them."""
_VARIABLE = re.compile(r"\$\w+")


def needed(prefix: str) -> set[Selector]:
    """The series of one service that some rule, panel or variable reads."""
    found = {selector for each in expressions() for selector in names(each.text).selectors}
    series = {each for each in found if each.metric.startswith(prefix) and each.metric in exported()}
    # Labels that Prometheus renames where it is told wrong; an alert is about that.
    return {_with_everything_chosen(each) for each in series if not any("exported_" in label for label in each.labels)}


def _with_everything_chosen(selector: Selector) -> Selector:
    """With nothing of the dashboard's variables chosen."""
    matchers = (replace(each, text=_VARIABLE.sub(".*", each.text)) for each in selector.matchers)
    return replace(selector, matchers=tuple(matchers))


def missing(selectors: set[Selector], scrape: Scrape, target: Mapping[str, str]) -> set[Selector]:
    """Those that no series of the scrape fulfils, with the labels of its target."""
    return {
        each
        for each in selectors
        if not any(
            all(matcher.holds({**target, **labels}) for matcher in each.matchers) for labels in scrape.rows(each.metric)
        )
    }


def target_of(prefix: str) -> dict[str, str]:
    return {"job": JOBS[prefix], "instance": "here:1", "node": "here"}


def at_once(prefix: str) -> set[Selector]:
    wanted = {each for each in needed(prefix) if each.metric not in LATER}
    assert wanted
    return wanted


def test_every_metric_that_is_read_is_one_of_a_service() -> None:
    read = {selector.metric for each in expressions() for selector in names(each.text).selectors} & exported().keys()
    assert {metric for metric in read if not metric.startswith(tuple(JOBS))} == set()


def test_no_counter_may_come_later() -> None:
    assert [metric for metric in LATER if metric.endswith(("_total", "_count", "_sum", "_bucket"))] == []
    assert set(LATER) <= exported().keys()


@running
async def test_the_exporter_has_what_is_read_of_it() -> None:
    async with ScrapedNode(*CARDS) as node:
        node.kubelet.tell([pod("resnet", "npu0pe0-1", namespace="vision")])
        await node.kubelet.start()
        await node.up()
        first, target = await node.scrape(), target_of("furiosa_npu_")
        assert missing(at_once("furiosa_npu_"), first, target) == set()
        looks = count(1)

        def has_all(scrape: Scrape) -> bool:
            node.host.cards[0].set_perf_regs(CoreRange(0, 0), next(looks) * 1_000_000, 0)  # the card goes on
            return not missing(needed("furiosa_npu_"), scrape, target)

        await node.until(has_all)


@running
async def test_the_device_plugin_has_what_is_read_of_it() -> None:
    async with Node(*CARDS) as node:
        configured = ConfiguredNode(node, endpoint=True)
        await configured.up()
        await configured.until_page("/readyz", "200", PATIENCE)
        _, text = await configured.get("/metrics")
        prefix = "npu_device_plugin_"
        assert missing(at_once(prefix), Scrape.parse(text), target_of(prefix)) == set()


@running
async def test_the_feature_discovery_has_what_is_read_of_it() -> None:
    async with LabelledNode(*CARDS) as node:
        port = free_port()
        await node.up("--listen-address", f"127.0.0.1:{port}")
        prefix = "npu_feature_discovery_"
        text = fetch(port, "/metrics", {}).text
        assert missing(at_once(prefix), Scrape.parse(text), target_of(prefix)) == set()


def test_what_is_missing_is_found_out() -> None:
    scrape = Scrape.parse('npu_device_plugin_allocations_total{resource="a",result="granted"} 1\n')
    [refused] = {each for each in needed("npu_device_plugin_allocations_total") if "result" in each.labels}
    assert missing({refused}, scrape, {}) == {refused}
    assert missing({Selector(refused.metric)}, scrape, {}) == set()
