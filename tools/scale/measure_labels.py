"""The real sinks: the feature file's bytes, and what a publication asks of the stand-in API server."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npu_core.testing import FakeHost
from npu_feature_discovery.host_scan import HostScanner
from npu_feature_discovery.labels.feature_text import render
from npu_feature_discovery.labels.table import Extra, Facts, Labels, labels_of
from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import ApiAccess, Target
from testkit.standins.apiserver import Authority, StandInApiServer
from testkit.standins.apiserver.store import NODE_FEATURES, Key
from tools.scale.hosts import plans
from tools.scale.measured import HostKind, LabelCost, PublicationCost

HOST = HostKind("renegade", 8)
NODE, NAMESPACE = "npu-node-0001", "kube-system"
SINKS = ("node-feature", "node-labels")
_FEATURE = f"furiosa-npu-features-for-{NODE}"
_TIMEOUT = 30.0
_TOKEN = "first-token"  # noqa: S105  # the stand-in's


def measure() -> LabelCost:
    """The labels of a node with eight RNGD cards, and what it takes to publish them. Takes about five seconds."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        directory = Path(place)
        host = FakeHost(directory / "host", *plans(HOST))
        facts = HostScanner(host.open()).look().facts
        labels = labels_of(facts)
        return LabelCost(
            labels=len(labels),
            extra=_extra(facts, labels),
            file_bytes=len(render(labels)),
            sinks=tuple(_publication(sink, labels, directory) for sink in SINKS),
        )


def _extra(facts: Facts, labels: Labels) -> int:
    return len(labels_of(facts, extras=Extra)) - len(labels)


def _publication(sink: str, labels: Labels, directory: Path) -> PublicationCost:
    with _server(directory / sink) as (server, access):
        new = _asked(server, access, sink, labels)
        body = next(len(_compact(json.loads(each.body))) for each in server.asked if each.body)
        kept = _kept(server, sink, labels)
        same = _asked(server, access, sink, labels)
        other = _asked(server, access, sink, dict.fromkeys(labels, "other"))
    return PublicationCost(sink, new, same, other, kept, body)


def _asked(server: StandInApiServer, access: ApiAccess, sink: str, labels: Labels) -> tuple[str, ...]:
    """What a process that has just started asks for to publish these."""
    before = len(server.asked)
    ApiSink(access, Target(sink, NODE, NAMESPACE if sink == "node-feature" else None)).publish(labels)
    return tuple(each.method for each in server.asked[before:])


def _kept(server: StandInApiServer, sink: str, labels: Labels) -> int:
    """Bytes of JSON of the NodeFeature; of a node only of what is ours: the labels, and who owns them."""
    if sink == "node-feature":
        with server.lock:
            return len(_compact(server.store.get(Key(NODE_FEATURES, NAMESPACE, _FEATURE)).document()))
    owned: dict[str, dict[str, object]] = {f"f:{key}": {} for key in labels}
    return len(_compact(dict(labels))) + len(_compact(owned))


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@contextmanager
def _server(directory: Path) -> Iterator[tuple[StandInApiServer, ApiAccess]]:
    directory.mkdir()
    with StandInApiServer(Authority(directory)) as server:
        server.add_node(NODE, {"kubernetes.io/hostname": NODE})
        server.store.namespaces.add(NAMESPACE)
        yield server, ApiAccess(str(_kubeconfig(server, directory)), "", _TIMEOUT)


def _kubeconfig(server: StandInApiServer, directory: Path) -> Path:
    """A file instead of variables of the environment, which belong to the whole process."""
    cluster = {"server": server.url, "certificate-authority": str(directory / "ca.crt")}
    written = directory / "kubeconfig"
    written.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "it",
                "clusters": [{"name": "it", "cluster": cluster}],
                "users": [{"name": "it", "user": {"token": _TOKEN}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            }
        )
    )
    return written
