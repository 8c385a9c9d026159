"""Pods for tests: which of their containers ask for cards, and what the containers do."""

from dataclasses import dataclass
from typing import Any

RESOURCE = "beta.furiosa.ai/npu"
_WAIT = "trap 'exit 0' TERM; echo units=$NPU_DEVNAME; until [ -e /go ]; do sleep 0.2; done"
"""Runs until :meth:`tools.cluster.node.Node.finish` makes the file /go."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod.

    Attributes:
        npus: how many units it asks for.
        seconds: how long it runs; until :meth:`tools.cluster.node.Node.finish` if None.
        processors: how many exclusive processors the container asks for. A pod whose containers all do so has the QoS
            class Guaranteed.
    """

    npus: int = 0
    seconds: float | None = None
    processors: int = 0


def manifest(
    name: str,
    main: Container,
    *,
    init: Container | None = None,
    sidecar: Container | None = None,
    resource: str = RESOURCE,
) -> dict[str, Any]:
    """A pod with these containers, which are called ``init``, ``sidecar`` and ``main``.

    Args:
        name: of the pod.
        main: its main container.
        init: its init container, if it has one.
        sidecar: its sidecar, if it has one.
        resource: the name under which its containers ask for units.
    """
    before = []
    if sidecar is not None:
        before.append({**_container("sidecar", sidecar, resource), "restartPolicy": "Always"})
    if init is not None:
        before.append(_container("init", init, resource))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"made-by": "test"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "initContainers": before,
            "containers": [_container("main", main, resource)],
        },
    }


def _container(name: str, container: Container, resource: str) -> dict[str, Any]:
    wait = _WAIT if container.seconds is None else f"trap 'exit 0' TERM; sleep {container.seconds:g} & wait"
    limits = {resource: str(container.npus)} if container.npus else {}
    if container.processors:
        limits |= {"cpu": str(container.processors), "memory": "32Mi"}
    return {
        "name": name,
        "image": "ubuntu:focal",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", wait],
        "resources": {"limits": limits, "requests": {"cpu": "1m", **limits}},
    }
