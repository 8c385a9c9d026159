"""Edits of the device plugin's ConfigMap while the plugin and pods run."""

import pytest
import yaml

from testkit.documents import blocks
from testkit.waiting import until
from tools.cluster.held import overlaps
from tools.cluster.node import DAEMONS, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_IN_FORCE = "npu_device_plugin_config_last_reload_success"
_PENDING = "npu_device_plugin_cards_pending"
_GENERATION = "npu_device_plugin_config_generation"
WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"defaultPe": "Sinlge"}, "defaultPe", "Sinlge"),
    ({"defaultPE": "Fusion"}, "defaultPE", "Fusion"),
    ({"interval": 0}, "interval", "0"),
    ({"disabledDevices": ["npu0"]}, "disabledDevices[0]", "npu0"),
]
"""Settings that are wrong, and the key and the value that have to be named."""


def test_a_held_card_keeps_its_cut_over_every_change_until_its_pod_ends(node: Node) -> None:
    node.run_pod("whole", 1)
    held = node.units_of("whole")
    node.configure(defaultPe="Single")
    node.await_units(7, 7, "with three cards cut, and one held as a whole")
    until(lambda: node.plugin_metric(_PENDING) == 1, "one card waits")
    node.configure()
    node.await_units(4, 4, "with every card whole again")
    until(lambda: node.plugin_metric(_PENDING) == 0, "no card waits")
    node.configure(defaultPe="Single")
    node.await_units(7, 7, "with three cards cut again")
    node.run_pod("part", 6)
    assert overlaps(node.held()) == []
    assert node.units_of("whole") == held
    node.delete("whole")
    node.await_units(8, 8, "after the pod with the whole card ended")
    node.run_pod("last", 2)
    assert set(node.units_of("last").split(",")) == {held.replace("pe0-1", "pe0"), held.replace("pe0-1", "pe1")}


def test_a_card_of_which_one_core_is_held_is_made_whole_when_its_pod_ends(node: Node) -> None:
    node.configure(defaultPe="Single")
    node.await_units(8, 8, "with every card cut")
    node.run_pod("part", 1)
    node.configure()
    node.await_units(5, 5, "with three cards whole, and one of which a core is held")
    node.run_pod("other", 4)
    assert overlaps(node.held()) == []
    node.delete("part", "other")
    node.await_units(4, 4, "after the pods ended")


def test_a_wrong_edit_keeps_the_last_good_settings_and_says_what_is_wrong(node: Node) -> None:
    node.configure(defaultPe="Single")
    node.await_units(8, 8, "with every card cut")
    for wrong, key, value in WRONG:
        node.configure(**wrong)
        until(lambda: _refusals(node, key, value), f"the plugin refuses {wrong}", instead=node.plugin_log)  # noqa: B023
        assert node.plugin_metric(_IN_FORCE) == 0
    checked = node.run(
        *("kubectl", "exec", "--namespace=kube-system", node.plugin_pod(), "--"),
        *("/usr/bin/k8s-device-plugin", "--config-file", "/etc/furiosa/config.yaml", "check"),
        check=False,
    )
    assert checked.returncode != 0
    assert _names(checked.stderr, *WRONG[-1][1:])
    assert (node.allocatable(), node.capacity()) == (8, 8)
    node.run_pod("other", 1)
    assert node.units_of("other") in {f"npu{card}pe{core}" for card in range(4) for core in (0, 1)}
    node.configure()
    until(lambda: node.plugin_metric(_IN_FORCE) == 1, "the plugin takes the next right configuration")


def _refusals(node: Node, key: str, value: str) -> list[str]:
    lines = node.plugin_log().splitlines()
    return [line for line in lines if "configuration refused" in line and _names(line, key, value)]


def _names(text: str, key: str, value: str) -> bool:
    return key in text and value in text


def test_devices_are_disabled_on_the_node_that_is_named_and_on_every_node_if_none_is(node: Node) -> None:
    generation = node.plugin_metric(_GENERATION) or 0
    node.configure(disabledDevices=[{"devName": "npu1", "nodeName": "another-node"}])
    until(lambda: (node.plugin_metric(_GENERATION) or 0) > generation, "the settings are in force")
    assert (node.allocatable(), node.capacity()) == (4, 4)
    node.configure(disabledDevices=[{"devName": "npu1", "nodeName": node.name}, {"devName": "npu3"}])
    node.await_units(2, 2, "with two cards disabled")
    node.run_pod("holds", 2)
    assert node.units_of("holds") == "npu0pe0-1,npu2pe0-1"
    node.configure(defaultPe="Single", disabledDevices=[{"devName": "npu1pe0", "nodeName": node.name}])
    node.await_units(5, 5, "with two cards held as a whole, and a core of two others disabled")
    node.configure()
    node.await_units(4, 4, "with no card disabled")


def test_the_settings_of_the_installation_guide_are_taken_as_they_are(node: Node) -> None:
    shown = [each.text for each in blocks("docs/install.md") if each.language == "yaml"]
    [patch] = [text for text in shown if "config.yaml" in yaml.safe_load(text).get("data", {})]
    generation = node.plugin_metric(_GENERATION) or 0
    node.edit_configuration(patch)
    until(lambda: (node.plugin_metric(_GENERATION) or 0) > generation, "the settings are in force")
    assert node.plugin_metric(_IN_FORCE) == 1
    assert (node.allocatable(), node.capacity()) == (4, 4)
    node.kubectl("rollout", "status", "--namespace=kube-system", f"daemonset/{DAEMONS[0]}", "--timeout=60s")
