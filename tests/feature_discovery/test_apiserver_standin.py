"""The stand-in API server, asked with nothing but http.client."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

import pytest

from testkit.standins.apiserver import Authority, StandInApiServer

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
NODE = "/api/v1/nodes/node-1"
FEATURES = "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/npu/nodefeatures"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever JSON there is
        return json.loads(self.body)


class Client:
    def __init__(self, server: StandInApiServer, authority: Authority, token: str = "first-token") -> None:  # noqa: S107
        self._port = server.port
        self._context = ssl.create_default_context(cafile=str(authority.certificate))
        self.token = token

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            given = {"Authorization": f"Bearer {self.token}", "User-Agent": "somebody/1", **named}
            connection.request(method, path, None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def apply(self, path: str, manager: str, labels: dict[str, str], *, force: bool = False, **metadata: str) -> Reply:
        query = f"fieldManager={manager}" + ("&force=true" if force else "")
        given = {"metadata": {**metadata, "labels": labels}} if labels else {"metadata": metadata}
        return self("PATCH", f"{path}?{query}", given, Content_Type=APPLY)


@pytest.fixture
def client(api_server: StandInApiServer, authority: Authority) -> Client:
    return Client(api_server, authority)


def _labels(reply: Reply) -> dict[str, str]:
    labels: dict[str, str] = reply.json["metadata"].get("labels", {})
    return labels


def _owned(reply: Reply, manager: str) -> set[str]:
    return {
        key.removeprefix("f:")
        for entry in reply.json["metadata"]["managedFields"]
        if entry["manager"] == manager
        for key in entry["fieldsV1"]["f:metadata"]["f:labels"]
    }


def _feature(name: str = "f", **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


# Who may ask what


def test_a_verb_that_is_not_allowed_is_refused_by_its_name(api_server: StandInApiServer, client: Client) -> None:
    api_server.allowed = {("get", "nodes")}
    assert client("GET", NODE).status == 200
    refused = client.apply(NODE, "us", {"a": "1"})
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert 'cannot patch resource "nodes"' in refused.json["message"]


def test_applying_what_is_not_there_takes_the_verb_create(api_server: StandInApiServer, client: Client) -> None:
    api_server.allowed = {("patch", "nodes")}
    assert client.apply("/api/v1/nodes/another", "us", {"a": "1"}).status == 403
    api_server.allowed.add(("create", "nodes"))
    assert client.apply("/api/v1/nodes/another", "us", {"a": "1"}).status == 201


# What is not there


# Whole objects


def test_an_update_needs_the_version_it_was_made_from(client: Client) -> None:
    first = client("POST", FEATURES, _feature(labels={"a": "1"})).json
    assert client("PUT", f"{FEATURES}/f", _feature()).status == 422
    changed = client("PUT", f"{FEATURES}/f", {**first, "spec": {"labels": {"a": "2"}}})
    assert (changed.status, changed.json["metadata"]["uid"]) == (200, first["metadata"]["uid"])
    late = client("PUT", f"{FEATURES}/f", {**first, "spec": {}})
    assert (late.status, late.json["reason"]) == (409, "Conflict")


def test_a_label_that_is_none_is_refused(client: Client) -> None:
    assert client.apply(NODE, "us", {"a": "not valid."}).status == 422


# Server-side apply


def test_what_somebody_else_owns_too_stays_when_it_is_no_longer_applied(client: Client) -> None:
    client.apply(NODE, "us", {"a": "1"})
    client.apply(NODE, "they", {"a": "1"})
    left = client.apply(NODE, "us", {})
    assert _labels(left)["a"] == "1"
    assert _owned(left, "they") == {"a"}


def test_applying_another_value_than_the_owners_is_a_conflict_unless_it_is_forced(client: Client) -> None:
    client.apply(NODE, "they", {"a": "1"})
    refused = client.apply(NODE, "us", {"a": "2"})
    assert refused.status == 409
    assert 'conflict with "they": .metadata.labels.a' in refused.json["message"]
    forced = client.apply(NODE, "us", {"a": "2"}, force=True)
    assert (_labels(forced)["a"], _owned(forced, "us")) == ("2", {"a"})
    assert "they" not in {entry["manager"] for entry in forced.json["metadata"]["managedFields"]}


def test_whoever_writes_another_value_over_an_applied_one_owns_it_then(client: Client) -> None:
    client.apply(NODE, "us", {"a": "1"})
    reply = client("PATCH", NODE, {"metadata": {"labels": {"a": "2"}}}, Content_Type=MERGE)
    assert _owned(reply, "somebody") == {"a"}
    assert "us" not in {entry["manager"] for entry in reply.json["metadata"]["managedFields"]}


def test_applying_the_same_again_makes_no_new_version(client: Client) -> None:
    first, second = (client.apply(NODE, "us", {"a": "1"}).json["metadata"] for _ in range(2))
    assert first["resourceVersion"] == second["resourceVersion"]


def test_applying_with_a_uid_creates_nothing_and_touches_no_namesake(client: Client) -> None:
    assert client.apply("/api/v1/nodes/another", "us", {"a": "1"}, uid="u-1").status == 409
    assert client.apply(NODE, "us", {"a": "1"}, uid="u-1").status == 422


# Faults, and what was asked
