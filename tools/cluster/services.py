"""The project's services on a node: their pods, containers and processes."""

from dataclasses import dataclass
from typing import Any

from testkit.waiting import until
from tools.cluster import held
from tools.cluster.node import DAEMONS, Node

NAMESPACE = "kube-system"
_SELECTOR = "app.kubernetes.io/part-of=furiosa-npu"


@dataclass(frozen=True, slots=True)
class Service:
    """One pod of a service, which has one container.

    Attributes:
        daemon: the name of its DaemonSet.
        pod: its name.
        uid: its identity.
        port: where it listens.
        status: of the container, as the kubelet reports it.
    """

    daemon: str
    pod: str
    uid: str
    port: int
    status: dict[str, Any]

    @property
    def container(self) -> str:
        """The id of its container; empty while there is none."""
        return str(self.status.get("containerID", "")).partition("://")[2]

    @property
    def ready(self) -> bool:
        """Whether the kubelet reports the container as ready."""
        return bool(self.status.get("ready"))

    @property
    def restarts(self) -> int:
        """How often the container was started again."""
        return int(self.status.get("restartCount", 0))

    @property
    def ended(self) -> dict[str, Any]:
        """How the container before this one ended; empty if it is the first."""
        return dict(self.status.get("lastState", {}).get("terminated", {}))


def services(node: Node) -> list[Service]:
    """The pods of the project that are not being deleted, in the order of their DaemonSets' names."""
    items = node.json("get", "pods", f"--namespace={NAMESPACE}", f"--selector={_SELECTOR}")["items"]
    found = [
        Service(
            item["metadata"]["labels"]["app.kubernetes.io/name"],
            item["metadata"]["name"],
            item["metadata"]["uid"],
            item["spec"]["containers"][0]["ports"][0]["containerPort"],
            next(iter(item["status"].get("containerStatuses", [])), {}),
        )
        for item in items
        if "deletionTimestamp" not in item["metadata"]
    ]
    return sorted(found, key=lambda each: each.daemon)


def service(node: Node, daemon: str) -> Service:
    """The only pod of a DaemonSet."""
    [found] = [each for each in services(node) if each.daemon == daemon]
    return found


def page(node: Node, each: Service, path: str) -> str:
    """What a service answers, through the API server; empty if it does not."""
    place = f"/api/v1/namespaces/{NAMESPACE}/pods/{each.pod}:{each.port}/proxy{path}"
    return node.kubectl("get", "--raw", place, check=False)


def processes(node: Node, each: Service) -> list[int]:
    """The process ids of a service's container."""
    return held.containers(node.group).get(each.container, [])


def renew(node: Node) -> None:
    """Let all three services have new pods, and wait until these are ready."""
    before = {each.uid for each in services(node)}
    node.kubectl("delete", "pods", f"--namespace={NAMESPACE}", f"--selector={_SELECTOR}")

    def renewed() -> bool:
        now = services(node)
        return [each.daemon for each in now if each.ready and each.uid not in before] == sorted(DAEMONS)

    until(renewed, "new pods of the three services are ready", instead=node.overview)


def events(node: Node, reason: str, *uids: str) -> list[str]:
    """What events with a reason say about pods."""
    items = node.json("get", "events", f"--namespace={NAMESPACE}", f"--field-selector=reason={reason}")["items"]
    return [item["message"] for item in items if item["involvedObject"].get("uid") in uids]
