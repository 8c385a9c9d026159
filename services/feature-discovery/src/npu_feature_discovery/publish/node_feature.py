"""Labels in the NodeFeature of one node.

The object is ours alone: its whole ``spec`` is what we say. So it is read and replaced, with the resourceVersion that
was read: nobody's field can stay in it, whoever wrote it and by which name, and where it equals what is wanted nothing
is written. Server-side apply would leave what another manager put there. What others put into its metadata stays.

It has no owner: an owner that ends, as a pod does at each rollout, would take the labels along. NFD itself collects
NodeFeatures of nodes that are gone.

RBAC: get, create, update and delete on nodefeatures.nfd.k8s-sigs.io, in the one namespace.
"""

from collections.abc import Mapping
from typing import Any

from npu_feature_discovery.label_value import MAX_LENGTH
from npu_feature_discovery.labels import Labels
from npu_feature_discovery.publish.answer import Answer, Call
from npu_feature_discovery.publish.api import Api, Exchange
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.child import Action, Request

GROUP = "nfd.k8s-sigs.io"
VERSION = "v1alpha1"
RESOURCE = "nodefeatures"
NODE_NAME_LABEL = "nfd.node.kubernetes.io/node-name"

_ATTEMPTS = 3
_COLLECTION = f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{RESOURCE}"
_OBJECT = f"{_COLLECTION}/{{name}}"


def object_name(node: str) -> str:
    """The NodeFeature's name. Not the node's own, which is that of nfd-worker's."""
    return f"furiosa-npu-features-for-{node}"


def perform(api: Api, request: Request) -> Outcome:
    """Publish or remove.

    Raises:
        SinkError: if it was not possible.
    """
    feature = NodeFeature(api, request.target.node, request.target.namespace or "")
    return feature.publish(request.labels) if request.action is Action.PUBLISH else feature.remove()


class NodeFeature:
    """The NodeFeature of one node."""

    def __init__(self, api: Api, node: str, namespace: str) -> None:
        self._api = api
        self._node = node
        self._namespace = namespace
        self._name = object_name(node)

    def publish(self, labels: Labels) -> Outcome:
        """Let exactly these labels be in it. Whoever changes it meanwhile makes us read it again.

        Raises:
            SinkError: if that was not possible.
        """
        if len(self._node) > MAX_LENGTH:
            text = f"NFD knows a NodeFeature's node by a label, and {self._node} is too long for one ({MAX_LENGTH})"
            raise SinkError(FailureReason.CONFIGURATION, text)
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._publish_once(labels)
            except SinkError as error:
                if error.reason is not FailureReason.CONFLICT:
                    raise
        return self._publish_once(labels)

    def remove(self) -> Outcome:
        """Delete it.

        Raises:
            SinkError: if that was not possible.
        """
        call = self._call("delete")
        answer = self._api.send(Exchange(call, "DELETE", _OBJECT, self._names()))
        if answer.not_found:
            return Outcome.ABSENT
        answer.confirm(call)
        return Outcome.REMOVED

    def _publish_once(self, labels: Labels) -> Outcome:
        call = self._call("get")
        answer = self._api.send(Exchange(call, "GET", _OBJECT, self._names()))
        if answer.missing is not None:
            return self._create(labels)
        _expect_installed(answer)
        return self._replace(answer.document(call), labels)

    def _create(self, labels: Labels) -> Outcome:
        call = self._call("create")
        made = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "NodeFeature",
            "metadata": {"name": self._name, "namespace": self._namespace, "labels": self._metadata_labels()},
            "spec": _spec(labels),
        }
        answer = self._api.send(Exchange(call, "POST", _COLLECTION, self._names(), body=made))
        if answer.missing is not None:
            text = f"{call}: there is no such namespace: {answer.message()}"
            raise SinkError(FailureReason.CONFIGURATION, text)
        _expect_installed(answer)
        answer.confirm(call)
        return Outcome.CREATED

    def _replace(self, found: Mapping[str, Any], labels: Labels) -> Outcome:
        metadata, call = found["metadata"], self._call("update")
        if "deletionTimestamp" in metadata:
            raise SinkError(FailureReason.CONFLICT, f"{call}: it is being deleted")
        marked = {**(metadata.get("labels") or {}), **self._metadata_labels()}
        if found.get("spec") == _spec(labels) and metadata.get("labels") == marked:
            return Outcome.UNCHANGED
        made = {**found, "metadata": {**metadata, "labels": marked}, "spec": _spec(labels)}
        self._api.send(Exchange(call, "PUT", _OBJECT, self._names(), body=made)).confirm(call)
        return Outcome.UPDATED

    def _metadata_labels(self) -> Mapping[str, str]:
        return {NODE_NAME_LABEL: self._node}

    def _names(self) -> Mapping[str, str]:
        return {"namespace": self._namespace, "name": self._name}

    def _call(self, verb: str) -> Call:
        return Call(verb, f"{RESOURCE}.{GROUP}", self._name, self._namespace)


def _spec(labels: Labels) -> Mapping[str, Any]:
    """All three kinds of features are required, even where there is none."""
    return {"features": {"flags": {}, "attributes": {}, "instances": {}}, "labels": dict(labels)}


def _expect_installed(answer: Answer) -> None:
    if answer.not_found:
        text = f"the API server knows no {RESOURCE}.{GROUP}/{VERSION}: is NFD v0.12 or later installed?"
        raise SinkError(FailureReason.NOT_INSTALLED, text)
