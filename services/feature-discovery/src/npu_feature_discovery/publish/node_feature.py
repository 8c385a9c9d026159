"""Labels in the NodeFeature of one node.

The object is ours alone: its whole ``spec`` is what we say. So it is read and replaced, with the resourceVersion that
was read: nobody's field can stay in it, whoever wrote it and by which name, and where it equals what is wanted nothing
is written. Server-side apply would leave what another manager put there. What others put into its metadata stays.

It has no owner: an owner that ends, as a pod does at each rollout, would take the labels along. NFD itself collects
NodeFeatures of nodes that are gone.

NFD merges all NodeFeatures of a node, in every namespace. If ``--namespace`` had another value before, the old object
in the former namespace would keep its labels on the node. So the service looks for old objects in other namespaces when
it creates a new object.

RBAC: get, create, update and delete on nodefeatures.nfd.k8s-sigs.io, in the namespace of ``--namespace``. Removing old
    objects
in other namespaces needs list and delete in all namespaces. Without these rights the log says that the service did not
look.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from npu_feature_discovery.labels.label_value import MAX_LENGTH
from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.publish.answer import Answer, Call, mapping, mappings, text_at
from npu_feature_discovery.publish.api import Api, Exchange
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.child import Action, Done, Note, Request

GROUP = "nfd.k8s-sigs.io"
VERSION = "v1alpha1"
RESOURCE = "nodefeatures"
NODE_NAME_LABEL = "nfd.node.kubernetes.io/node-name"

_ATTEMPTS = 3
_COLLECTION = f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{RESOURCE}"
_ALL_NAMESPACES = f"/apis/{GROUP}/{VERSION}/{RESOURCE}"
_OBJECT = f"{_COLLECTION}/{{name}}"


def object_name(node: str) -> str:
    """The NodeFeature's name. Not the node's own, which is that of nfd-worker's."""
    return f"furiosa-npu-features-for-{node}"


def perform(api: Api, request: Request) -> Done:
    """Publish or remove.

    Raises:
        SinkError: if it was not possible.
    """
    feature = NodeFeature(api, request.target.node, request.target.namespace or "")
    if request.action is Action.REMOVE:
        return Done(feature.remove())
    outcome = feature.publish(request.labels)
    return Done(outcome, tuple(feature.remove_in_other_namespaces()) if outcome is Outcome.CREATED else ())


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

    def remove_in_other_namespaces(self) -> Iterator[Note]:
        """Delete this node's object in every other namespace, as far as RBAC allows, and tell the operator.

        Never raises, because the labels were published already.
        """
        try:
            others = self._other_namespaces()
        except SinkError as error:
            forbidden = error.reason is FailureReason.FORBIDDEN
            why = "RBAC does not allow list on NodeFeatures in all namespaces" if forbidden else error.message
            text = f"did not look for {self._name} in other namespaces, which NFD would merge with this object: {why}"
            yield Note(text, is_warning=not forbidden)
            return
        for namespace in others:
            yield self._delete_in(namespace)

    def _other_namespaces(self) -> list[str]:
        """The other namespaces in which this node has an object.

        Raises:
            SinkError: if the API server does not list them.
        """
        call = Call("list", f"{RESOURCE}.{GROUP}", self._name)
        # Version 0: the API server answers from its memory, without a read from etcd.
        query = {"fieldSelector": f"metadata.name={self._name}", "resourceVersion": "0"}
        answer = self._api.send(Exchange(call, "GET", _ALL_NAMESPACES, {}, query=query))
        found = [mapping(item, "metadata", call) for item in mappings(answer.document(call), "items", call)]
        places = {
            text_at(metadata, "namespace", call)
            for metadata in found
            if metadata.get("name") == self._name
            and mapping(metadata, "labels", call).get(NODE_NAME_LABEL) == self._node
        }
        return sorted(places - {self._namespace})

    def _delete_in(self, namespace: str) -> Note:
        call = Call("delete", f"{RESOURCE}.{GROUP}", self._name, namespace)
        try:
            answer = self._api.send(Exchange(call, "DELETE", _OBJECT, {"namespace": namespace, "name": self._name}))
            if not answer.not_found:
                answer.confirm(call)
        except SinkError as error:
            text = f"cannot delete {self._name} in namespace {namespace}, which NFD merges with this object"
            return Note(f"{text}: {error.message}", is_warning=True)
        text = f"deleted {self._name} in namespace {namespace}, which NFD merged with this object"
        return Note(text, is_warning=False)

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
        marked = {**mapping(metadata, "labels", call), **self._metadata_labels()}
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
