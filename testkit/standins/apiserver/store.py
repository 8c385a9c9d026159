"""The objects, and what may be done to them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from testkit.standins.apiserver import refusals
from testkit.standins.apiserver.fields import ConflictsError, Owner, Owners, applied, managed_fields, updated

_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


@dataclass(frozen=True)
class Resource:
    """One kind of object.

    Attributes:
        name: with its group, as RBAC and messages have it.
        kind: of its objects.
        api_version: of its objects.
        custom: whether a definition that is installed makes it, and a write without a resourceVersion is refused.
    """

    name: str
    kind: str
    api_version: str
    custom: bool = False


NODES = Resource("nodes", "Node", "v1")
NODE_FEATURES = Resource("nodefeatures.nfd.k8s-sigs.io", "NodeFeature", "nfd.k8s-sigs.io/v1alpha1", custom=True)


@dataclass(frozen=True)
class Key:
    """An object's place; the namespace is empty where there is none."""

    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True)
class Stored:
    """An object at one resourceVersion."""

    content: dict[str, Any]
    owners: Owners
    version: int

    def document(self) -> dict[str, Any]:
        """As it is answered with."""
        made = deepcopy(self.content)
        made["metadata"]["resourceVersion"] = str(self.version)
        made["metadata"]["managedFields"] = managed_fields(self.owners, made["apiVersion"])
        return made


class Store:
    """All objects. Not for several threads at once."""

    def __init__(self) -> None:
        self._objects: dict[Key, Stored] = {}
        self._version = 1000
        self.namespaces: set[str] = set()

    def find(self, key: Key) -> Stored | None:
        return self._objects.get(key)

    def keys(self) -> Iterable[Key]:
        return tuple(self._objects)

    def get(self, key: Key) -> Stored:
        stored = self._objects.get(key)
        if stored is None:
            raise refusals.not_found(key.resource.name, key.name)
        return stored

    def create(self, key: Key, body: dict[str, Any], manager: str) -> Stored:
        self._check_namespace(key)
        if key in self._objects:
            raise refusals.already_exists(key.resource.name, key.name)
        content = self._new(key, body)
        return self._keep(key, content, updated({}, {}, content, Owner(manager, "Update")))

    def replace(self, key: Key, body: dict[str, Any], manager: str) -> Stored:
        stored = self.get(key)
        given = body.get("metadata", {}).get("resourceVersion")
        if not given and key.resource.custom:
            why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            raise refusals.invalid(key.resource.name, key.name, why)
        return self._change(key, stored, body, manager)

    def merge(self, key: Key, patch: dict[str, Any], manager: str) -> Stored:
        stored = self.get(key)
        return self._change(key, stored, _merged(stored.content, patch), manager)

    def apply(self, key: Key, body: dict[str, Any], manager: str, *, force: bool) -> Stored:
        """Whoever asks has to see to it that creating is allowed, if there is no such object."""
        stored, owner = self._objects.get(key), Owner(manager, "Apply")
        uid = body.get("metadata", {}).get("uid")
        if stored is None:
            if uid is not None:
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise refusals.conflict(key.resource.name, key.name, why)
            self._check_namespace(key)
            content, owners = applied(self._new(key, {}), {}, body, owner, force=force)
            return self._keep(key, content, owners)
        if uid is not None and uid != stored.content["metadata"]["uid"]:
            why = f'metadata.uid: Invalid value: "{uid}": field is immutable'
            raise refusals.invalid(key.resource.name, key.name, why)
        try:
            content, owners = applied(stored.content, stored.owners, body, owner, force=force)
        except ConflictsError as error:
            raise refusals.RefusalError(409, "Conflict", str(error)) from error
        return self._keep(key, content, owners)

    def delete(self, key: Key) -> Stored:
        stored = self.get(key)
        finalizers = stored.content["metadata"].get("finalizers")
        if not finalizers:
            return self._objects.pop(key)
        content = deepcopy(stored.content)
        content["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
        return self._keep(key, content, stored.owners)

    def _change(self, key: Key, stored: Stored, body: dict[str, Any], manager: str) -> Stored:
        metadata = body.get("metadata", {})
        if metadata.get("resourceVersion", str(stored.version)) != str(stored.version):
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise refusals.conflict(key.resource.name, key.name, why)
        content = self._new(key, body)
        kept = {"uid", "creationTimestamp", "deletionTimestamp"} & stored.content["metadata"].keys()
        content["metadata"] |= {name: stored.content["metadata"][name] for name in kept}
        return self._keep(key, content, updated(stored.owners, stored.content, content, Owner(manager, "Update")))

    def _new(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        content = deepcopy(body)
        metadata = content.setdefault("metadata", {})
        for name in ("managedFields", "resourceVersion"):
            metadata.pop(name, None)
        if metadata.get("name", key.name) != key.name:
            raise refusals.bad_request("the name of the object does not match the name on the URL")
        metadata |= {"name": key.name, "uid": str(uuid.uuid4()), "creationTimestamp": "2024-01-01T00:00:00Z"}
        if key.namespace:
            metadata["namespace"] = key.namespace
        return content | {"apiVersion": key.resource.api_version, "kind": key.resource.kind}

    def _keep(self, key: Key, content: dict[str, Any], owners: Owners) -> Stored:
        _check_labels(key, content)
        before = self._objects.get(key)
        made = Stored(content, owners, before.version if before else 0)
        if made != before:
            self._version += 1
            made = replace(made, version=self._version)
        self._objects[key] = made
        return made

    def _check_namespace(self, key: Key) -> None:
        if key.namespace and key.namespace not in self.namespaces:
            raise refusals.not_found("namespaces", key.namespace)


def _merged(content: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396), as far as maps go."""
    made = deepcopy(content)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = _merged(made.get(key) or {}, value)
        else:
            made[key] = value
    return made


def _check_labels(key: Key, content: dict[str, Any]) -> None:
    for name, value in (content["metadata"].get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            why = f'metadata.labels: Invalid value: "{value}" of {name}: a valid label must be an empty string or ...'
            raise refusals.invalid(key.resource.name, key.name, why)
