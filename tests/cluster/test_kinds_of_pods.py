"""Unusual kinds of pods: with sidecars, resized in place, static, with a user namespace."""

import json
import time

import pytest

from testkit.waiting import until
from tools.cluster.held import overlaps
from tools.cluster.node import Node
from tools.cluster.pods import Container, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_WITHOUT_API_SERVER = 20.0
"""Seconds; the plugin frees the cards of a pod that ended within 15."""


def test_a_sidecar_and_a_container_that_is_restarted_keep_their_cards(node: Node) -> None:
    pod = manifest("serves", Container(1), sidecar=Container(1))
    pod["spec"]["restartPolicy"] = "Always"
    node.apply_objects(pod)
    node.await_running("serves")
    before = {each.container: each for each in node.held()}
    assert set(before) == {"main", "sidecar"}
    node.configure(defaultPe="Single")
    node.await_units(6, 6, "with two cards cut, and two held as a whole")
    for restarts in (1, 2):
        node.finish("serves")
        # At the second restart the kubelet waits for ten seconds, and no container has the card in that time.
        _await_restarts(node, "serves", restarts)
        after = {each.container: each for each in node.held()}
        assert after["sidecar"] == before["sidecar"]
        assert after["main"].units == before["main"].units
        assert after["main"].id != before["main"].id
    node.await_units(6, 6, "still")
    node.run_pod("other", 4)
    assert overlaps(node.held()) == []


def _await_restarts(node: Node, pod: str, count: int) -> None:
    until(lambda: _restarts(node, pod) == count, f"the container was restarted {count} times")
    node.await_running(pod)


def _restarts(node: Node, pod: str) -> int:
    [status] = node.pods()[pod]["status"]["containerStatuses"]
    return int(status["restartCount"])


def test_a_pod_that_is_resized_in_place_keeps_its_card_and_its_container(node: Node) -> None:
    node.run_pod("grows", 1)
    before = node.held()
    resources = {"requests": {"cpu": "20m", "memory": "16Mi"}}
    patch = json.dumps({"spec": {"containers": [{"name": "main", "resources": resources}]}})
    done = node.run("kubectl", "patch", "pod", "grows", "--subresource=resize", f"--patch={patch}", check=False)
    if "could not find the requested resource" in done.stderr:
        pytest.skip(f"this release does not resize pods: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr

    def requests() -> dict[str, str]:
        [status] = node.pods()["grows"]["status"]["containerStatuses"]
        return dict(status["resources"]["requests"])

    until(lambda: requests().items() >= resources["requests"].items(), "the pod has its new size", instead=requests)
    assert _restarts(node, "grows") == 0
    assert node.held() == before
    node.run_pod("others", 3)
    assert overlaps(node.held()) == []


def test_a_static_pod_and_a_pod_of_the_api_server_keep_their_cards_while_it_is_away(node: Node) -> None:
    static = node.run_static_pod(manifest("fixed", Container(1)))
    node.run_pod("usual", 1)
    before = node.held()
    assert {each.pod for each in before} == {static, "usual"}
    node.configure(defaultPe="Single")
    node.await_units(6, 6, "with two cards cut, and two held as a whole")
    node.stop_api_server()
    # This kubelet lists the static pod, and does not know the other pod.
    node.restart_kubelet()
    time.sleep(_WITHOUT_API_SERVER)
    node.start_api_server()
    node.await_kubelet()
    node.await_units(6, 6, "still")
    node.run_pod("other", 4)
    assert [each for each in node.held() if each.pod != "other"] == before
    assert overlaps(node.held()) == []
    node.remove_static_pods()
    until(lambda: static not in {each.pod for each in node.held()}, "the static pod ends")
    node.delete("usual", "other")
    node.await_units(8, 8, "after the pods ended")


def test_a_pod_in_a_user_namespace_of_its_own_can_open_its_card(node: Node) -> None:
    pod = manifest("apart", Container(1))
    pod["spec"]["hostUsers"] = False
    node.apply_objects(pod)

    def refusals() -> list[str]:
        """What the kubelet and the runtime say of user namespaces, in words that differ by release."""
        events = node.json("get", "events", "--field-selector=involvedObject.name=apart,type=Warning")["items"]
        words = ("user namespace", "userns", "idmap")
        return [each["message"] for each in events if any(word in each["message"].lower() for word in words)]

    until(lambda: node.units_of("apart") or refusals(), "the pod runs or is refused", instead=node.overview)
    if said := refusals():
        pytest.skip(f"no user namespaces for pods here: {said[0]}")
    script = "cat /proc/self/uid_map; ls /dev | grep npu | while read file; do : < /dev/$file || exit 1; done"
    first, outside, _ = node.kubectl("exec", "apart", "--", "sh", "-c", script).split()
    assert first == "0"
    assert outside != "0"
    assert node.units_of("apart")
