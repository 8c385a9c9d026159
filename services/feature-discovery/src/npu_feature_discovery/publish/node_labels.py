"""Labels on the node itself.

The node is everybody's: the kubelet, the cloud's controller, NFD and people all label it. So we server-side apply our
keys and no others: the API server keeps which are ours, takes those away that we no longer apply, and nothing that
others own. Applying is forced, since it is what a label's source says that counts, not what somebody typed over it.

RBAC: get and patch on nodes. Not create: an apply creates what is not there, and a node must not come of that; the uid
that goes along makes the API server refuse it, too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.publish.answer import Call, mapping, mappings, text_at
from npu_feature_discovery.publish.api import APPLY, MANAGER, METADATA, Api, Exchange
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.child import Action, Request

_PATH = "/api/v1/nodes/{name}"


def perform(api: Api, request: Request) -> Outcome:
    """Publish or remove.

    Raises:
        SinkError: if it was not possible.
    """
    node = _Node(api, request.target.node)
    return node.publish(request.labels) if request.action is Action.PUBLISH else node.remove()


class _Node:
    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self._get = Call("get", "nodes", name)

    def publish(self, labels: Labels) -> Outcome:
        metadata = self._metadata()
        ours = frozenset(_ours(metadata, self._get))
        present = mapping(metadata, "labels", self._get)
        if ours == labels.keys() and all(present.get(key) == value for key, value in labels.items()):
            return Outcome.UNCHANGED
        self._apply(text_at(metadata, "uid", self._get), labels)
        return Outcome.UPDATED if ours else Outcome.CREATED

    def remove(self) -> Outcome:
        metadata = self._metadata()
        if not any(_ours(metadata, self._get)):
            return Outcome.ABSENT
        self._apply(text_at(metadata, "uid", self._get), {})
        return Outcome.REMOVED

    def _metadata(self) -> Mapping[str, Any]:
        answer = self._api.send(Exchange(self._get, "GET", _PATH, {"name": self._name}, accept=METADATA))
        if answer.not_found:
            raise SinkError(FailureReason.NO_NODE, f'there is no node "{self._name}": is NODE_NAME right?')
        metadata: Mapping[str, Any] = answer.document(self._get)["metadata"]
        return metadata

    def _apply(self, uid: str, labels: Labels) -> None:
        call = Call("patch", "nodes", self._name)
        metadata: dict[str, Any] = {"name": self._name, "uid": uid}
        if labels:
            metadata["labels"] = dict(labels)
        applied = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        exchange = Exchange(
            call,
            "PATCH",
            _PATH,
            {"name": self._name},
            query={"fieldManager": MANAGER, "force": "true"},
            body=applied,
            content_type=APPLY,
            accept=METADATA,
        )
        self._api.send(exchange).confirm(call)


def _ours(metadata: Mapping[str, Any], call: Call) -> Iterator[str]:
    """The keys of the labels that the API server keeps as applied by us."""
    for entry in mappings(metadata, "managedFields", call):
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            fields = mapping(mapping(entry, "fieldsV1", call), "f:metadata", call)
            yield from (key.removeprefix("f:") for key in mapping(fields, "f:labels", call) if key != ".")
