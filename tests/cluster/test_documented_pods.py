"""Every pod that the documents show, and every way to split a Warboy card: what its container gets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from testkit.documents import PAGES, blocks
from tools.cluster.held import overlaps
from tools.cluster.node import DEPLOYMENTS, Node
from tools.cluster.pods import RESOURCE, Container, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_WHOLE = ("", "_mgmt", "ch0", "ch1", "ch2", "ch3", "pe0", "pe0-1", "pe1")
_FILES = {"pe0-1": _WHOLE, "pe0": ("_mgmt", "ch0", "ch1", "ch2", "ch3", "pe0"), "pe1": (*_WHOLE[1:6], "pe1")}
"""The device files of a unit of Warboy, by what follows the card's name in the unit's."""


def _shown() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod of the documents and manifests, and every fragment of a container, put into the example pod."""
    example = yaml.safe_load((DEPLOYMENTS / "pod-example.yaml").read_text(encoding="utf-8"))
    for path in sorted(DEPLOYMENTS.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document.get("kind") == "Pod":
                yield path.name, document
    for block in (each for page in PAGES for each in blocks(page) if each.language == "yaml"):
        document = yaml.safe_load(block.text)
        if not isinstance(document, dict):
            continue
        if document.get("kind") == "Pod":
            yield str(block), document
        elif isinstance(document.get("resources"), dict) and RESOURCE in document["resources"].get("limits", {}):
            pod = {**example, "spec": {"containers": [{**example["spec"]["containers"][0], **document}]}}
            yield str(block), pod


def _different() -> dict[str, dict[str, Any]]:
    """The pods of all languages, each once, by the places that show it."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for place, pod in _shown():
        content = json.dumps(pod, sort_keys=True)
        found[content] = (f"{found[content][0]} {place}" if content in found else place, pod)
    return dict(found.values())


PODS = _different()


def test_the_documents_show_pods() -> None:
    places = {place.partition(":")[0] for places in PODS for place in places.split()}
    assert {"pod-example.yaml", "docs/install.md", "docs/ko/install.md"} <= places


@pytest.mark.parametrize("name", PODS)
def test_a_pod_of_the_documents_runs_with_the_cards_it_asks_for(node: Node, name: str) -> None:
    pod = PODS[name]
    [container] = pod["spec"]["containers"]
    for amounts in container["resources"].values():
        # Test machines have less memory and fewer processors than machines with cards.
        amounts.update({key: small for key, small in (("cpu", "10m"), ("memory", "32Mi")) if key in amounts})
    node.apply_objects(pod)
    node.await_running(pod["metadata"]["name"], container["name"])
    units = _units_that_it_may_use(node, pod["metadata"]["name"])
    assert len(units) == int(container["resources"]["limits"][RESOURCE])
    assert all(unit.endswith("pe0-1") for unit in units)


@pytest.mark.parametrize(("default_pe", "offered", "asked"), [("Single", 8, (1, 2, 3)), ("2", 4, (1, 3))])
def test_pods_get_units_as_the_cards_are_cut_and_their_files(
    node: Node, default_pe: str, offered: int, asked: tuple[int, ...]
) -> None:
    node.configure(defaultPe=default_pe)
    node.await_units(offered, offered, f"with defaultPe {default_pe}")
    for count in asked:
        units = _units_that_it_may_use(node, node.run_pod(f"asks-for-{count}", count))
        assert len(units) == count
        assert {unit.partition("pe")[2] for unit in units} <= ({"0-1"} if offered == 4 else {"0", "1"})
    assert overlaps(node.held()) == []


def test_a_container_that_asks_for_nothing_gets_nothing(node: Node) -> None:
    node.apply_objects(manifest("plain", Container()))
    node.await_running("plain")
    assert node.kubectl("exec", "plain", "--", "sh", "-c", "ls /dev; env").count("npu") == 0


def _units_that_it_may_use(node: Node, pod: str) -> list[str]:
    """NPU_DEVNAME of a container, after a check that exactly these device files exist and can be opened."""
    [units] = [each.units.split(",") for each in node.held() if each.pod == pod]
    variable, *files = node.kubectl("exec", pod, "--", "sh", "-c", "echo $NPU_DEVNAME; ls /dev | grep npu").split()
    assert variable.split(",") == units
    parts = [unit.partition("pe") for unit in units]
    assert set(files) == {f"{card}{suffix}" for card, _, cores in parts for suffix in _FILES[f"pe{cores}"]}
    node.kubectl("exec", pod, "--", "sh", "-c", "".join(f": < /dev/{file} || exit 1;" for file in files))
    return units
