"""The server: HTTP around the store."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from testkit.standins.apiserver import refusals
from testkit.standins.apiserver.certificates import Authority
from testkit.standins.apiserver.faults import Fault, Faults
from testkit.standins.apiserver.store import NODE_FEATURES, NODES, Key, Resource, Store

_PATHS = (
    (re.compile(r"/api/v1/nodes(?:/([^/]+))?"), NODES),
    (re.compile(r"/apis/nfd\.k8s-sigs\.io/v1alpha1/namespaces/([^/]+)/nodefeatures(?:/([^/]+))?"), NODE_FEATURES),
)
_EVERYWHERE = {"/apis/nfd.k8s-sigs.io/v1alpha1/nodefeatures": NODE_FEATURES}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_APPLY = "application/apply-patch+yaml"
_MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")


@dataclass(frozen=True)
class Asked:
    """One request, as it came, and the status it was answered with (0: not at all)."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    status: int


class StandInApiServer:
    """An API server on a loopback port, from ``with`` to its end.

    Attributes:
        store: the objects; change them only under :attr:`lock`.
        asked: every request so far.
        installed: whether NodeFeatures are known here.
        tokens: the bearer tokens that are taken.
        allowed: the (verb, resource) that RBAC allows; None for all.
        broken: what became of connections that ended without a request, as those of a client that trusts us not.
    """

    def __init__(self, authority: Authority | None) -> None:
        self.store = Store()
        self.lock = threading.RLock()
        self.asked: list[Asked] = []
        self.installed = True
        self.tokens = {"first-token"}
        self.allowed: set[tuple[str, str]] | None = None
        self.broken: list[str] = []
        self._faults = Faults()
        self._stopping = threading.Event()
        self._authority = authority
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.server_certificate, authority.server_key)
            # The handshake belongs into the connection's thread: one that never comes would stop all others.
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a pod has in its environment to find us."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def write_service_account(self, directory: Path, token: str = "first-token") -> None:  # noqa: S107
        """What a pod has mounted to prove who it is."""
        assert self._authority is not None
        directory.mkdir(exist_ok=True)
        (directory / "ca.crt").write_bytes(self._authority.certificate.read_bytes())
        (directory / "token").write_text(token, encoding="ascii")

    def add_node(self, name: str, labels: dict[str, str] | None = None) -> None:
        """A node that its kubelet has labelled."""
        with self.lock:
            self.store.create(Key(NODES, "", name), {"metadata": {"labels": labels or {}}}, "kubelet")

    def node_labels(self, name: str) -> dict[str, str]:
        with self.lock:
            return dict(self.store.get(Key(NODES, "", name)).content["metadata"].get("labels") or {})

    def node_feature(self, namespace: str, name: str) -> dict[str, Any] | None:
        with self.lock:
            stored = self.store.find(Key(NODE_FEATURES, namespace, name))
            return None if stored is None else stored.document()

    def fail(self, fault: Fault) -> None:
        """Let this befall requests to come, after the faults that are still to come."""
        with self.lock:
            self._faults.add(fault)

    def heal(self) -> None:
        """Forget all faults."""
        with self.lock:
            self._faults.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http.cut_all_off()

    def take_fault(self, method: str) -> Fault:
        with self.lock:
            return self._faults.next(method)

    def wait(self, seconds: float) -> None:
        """Dawdle, unless the server is to end."""
        self._stopping.wait(seconds)

    def perform(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Do what is asked: status and document.

        Raises:
            RefusalError: if it is not done.
            NoSuchPathError: if there is no such path.
        """
        with self.lock:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or token not in self.tokens:
                raise refusals.unauthorized()
            query = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
            resource = _EVERYWHERE.get(urlsplit(target).path) if method == "GET" else None
            if resource is not None and self.installed:
                self._authorize("list", Key(resource, "", ""))
                return self._list(resource, query)
            key = self._key(urlsplit(target).path)
            if key.name:
                self._authorize(_VERBS[method], key)
            return self._change(method, key, query, headers, body)

    def _list(self, resource: Resource, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """All objects of one kind, in every namespace. Custom objects can be selected by name and namespace only."""
        wanted = dict(term.split("=", 1) for term in query.get("fieldSelector", "").split(",") if term)
        if strange := wanted.keys() - {"metadata.name", "metadata.namespace"}:
            raise refusals.bad_request(f"field label not supported: {min(strange)}")
        found = [
            self.store.get(key).document()
            for key in self.store.keys()  # noqa: SIM118  # no mapping
            if key.resource == resource
            and wanted.get("metadata.name", key.name) == key.name
            and wanted.get("metadata.namespace", key.namespace) == key.namespace
        ]
        metadata = {"resourceVersion": "1000"}
        kind = f"{resource.kind}List"
        return 200, {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "items": found}

    def _key(self, path: str) -> Key:
        for pattern, resource in _PATHS:
            match = pattern.fullmatch(path)
            if match and (self.installed or not resource.custom):
                *namespace, name = (unquote(group or "") for group in match.groups())
                return Key(resource, namespace[0] if namespace else "", name)
        raise refusals.NoSuchPathError

    def _authorize(self, verb: str, key: Key) -> None:
        if self.allowed is not None and (verb, key.resource.name) not in self.allowed:
            raise refusals.forbidden(verb, key.resource.name, key.name)

    def _change(
        self, method: str, key: Key, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        manager = query.get("fieldManager") or headers.get("user-agent", "unknown").split("/")[0]
        if method == "GET":
            return 200, self.store.get(key).document()
        if method == "DELETE":
            self.store.delete(key)
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        given = _parsed(body)
        if method == "POST":
            key = Key(key.resource, key.namespace, given.get("metadata", {}).get("name", ""))
            self._authorize("create", key)
            return 201, self.store.create(key, given, manager).document()
        if method == "PUT":
            return 200, self.store.replace(key, given, manager).document()
        return self._patch(key, query, headers.get("content-type", ""), given, manager)

    def _patch(
        self, key: Key, query: dict[str, str], content_type: str, given: dict[str, Any], manager: str
    ) -> tuple[int, dict[str, Any]]:
        if content_type in _MERGE:
            return 200, self.store.merge(key, given, manager).document()
        if content_type != _APPLY:
            raise refusals.unsupported(content_type)
        if "fieldManager" not in query:
            raise refusals.bad_request("fieldManager is required for apply patch")
        exists = self.store.find(key) is not None
        if not exists:
            self._authorize("create", key)
        stored = self.store.apply(key, given, manager, force=query.get("force") == "true")
        return (200 if exists else 201), stored.document()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError as error:
        raise refusals.bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise refusals.bad_request("the body is no object")
    return given


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    owner: StandInApiServer

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401  # socketserver's
        super().__init__(*arguments)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  # socketserver's
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_all_off(self) -> None:
        """End the connections that clients keep open: each has a thread."""
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                # Past TLS, whose state belongs to the connection's thread.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002  # socketserver's
        self.owner.broken.append(repr(sys.exception()))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # http.server's
        """Nothing: :attr:`StandInApiServer.asked` has it all."""

    def _answer(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = owner.take_fault(self.command)
        place = len(owner.asked)
        owner.asked.append(self._asked(headers, body, 0))
        if fault.delay:
            owner.wait(fault.delay)
        status, kind, content = self._outcome(fault, headers, body)
        if fault.drop:
            self.close_connection = True
            return
        owner.asked[place] = self._asked(headers, body, status)
        self._send(fault, status, kind, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  # http.server's

    def _asked(self, headers: dict[str, str], body: bytes, status: int) -> Asked:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return Asked(self.command, parts.path, query, headers, body, status)

    def _outcome(self, fault: Fault, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if fault.status is not None:
            made = refusals.RefusalError(fault.status, "Injected", f"injected {fault.status}").document()
            return fault.status, "application/json", fault.body if fault.body is not None else json.dumps(made).encode()
        try:
            status, document = self.server.owner.perform(self.command, self.path, headers, body)
        except refusals.NoSuchPathError:
            return 404, "text/plain; charset=utf-8", b"404 page not found\n"
        except refusals.RefusalError as refusal:
            status, document = refusal.code, refusal.document()
        if status < 300 and "as=PartialObjectMetadata" in headers.get("accept", ""):
            document = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"} | {
                "metadata": document["metadata"]
            }
        return status, "application/json", json.dumps(document).encode()

    def _send(self, fault: Fault, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault.truncate:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault.trickle:
            for index in range(len(content)):
                self.wfile.write(content[index : index + 1])
                self.server.owner.wait(fault.trickle)
        else:
            self.wfile.write(content)
