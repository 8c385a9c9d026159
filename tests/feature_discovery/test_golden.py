"""What npu-feature-discovery says, word by word: tests/golden/npu-feature-discovery.txt."""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from npu_core.errors import SettingsError
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.known_facts import counted
from npu_feature_discovery.labels.nfd_rules import NfdVersion, dropped
from npu_feature_discovery.service_status import ServiceStatus
from npu_feature_discovery.settings import load
from npu_feature_discovery.sinks import SinkError
from npu_feature_discovery.sinks.child import ApiAccess
from npu_feature_discovery.sinks.feature_file import FeatureFileSink, StandardOutputSink
from testkit.documents import ROOT
from testkit.golden import compare
from testkit.standins.apiserver import Fault, StandInApiServer
from tests.feature_discovery.facts import warboy
from tests.feature_discovery.rigs import DirectSink, failure, node_feature, node_labels

WRONG: tuple[dict[str, str], ...] = (
    {"sink": "file", "interval": "soon", "mixed": "both", "sysfs": "sys", "api-timeout": "0", "nfd-version": "latest"},
    {"interval": "nan", "extra-labels": "firmware,colour,size", "expiry": "1h", "oneshot": "yes", "namespace": ""},
    {"output-file": "features.d/x"},
    {"output-file": "/features.d/"},
    {"listen-address": "6256", "log-level": "loud", "log-format": "xml", "start-jitter": "-1"},
    {"expiry": "600"},
    {"expiry": "239", "nfd-version": "v0.14"},
    {"expiry": "600", "nfd-version": "v0.14", "interval": "infinite"},
    {"expiry": "600", "nfd-version": "v0.15", "sink": "node-labels", "NODE_NAME": "here"},
    {"remove": "true", "oneshot": "true"},
    {"remove": "true", "output-file": "-"},
    {"sink": "node-labels"},
    {"sink": "node-feature", "NODE_NAME": "here", "service-account-dir": "/nowhere"},
)
FAULTS = (
    Fault(status=410),
    Fault(status=422),
    Fault(status=429, headers={"Retry-After": "7"}),
    Fault(status=500),
    Fault(status=200, body=b"<html>"),
    Fault(status=200, body=b'{"metadata": {}}'),
    Fault(status=200, body=b" " * (3 << 20)),
)
FILES = ((0, warboy(0).files), (1, warboy(1).files), (2, ()))
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
GOOD = ServiceStatus(heartbeat_age=0.5, patience=30.0, labels={"a": "b"}, cards=2, published=True)


def test_what_it_says_is_what_the_file_has(api_server: StandInApiServer, access: ApiAccess, tmp_path: Path) -> None:
    sections: Mapping[str, list[str]] = {
        "Events": list(Event),
        "Wrong settings": [line for wrong in WRONG for line in _problems(wrong)],
        "Why it is not ready": list(_objections()),
        "Cards that do not count": [
            f"{card.name}: {card.reason}"
            for card in counted(
                [*(replace(warboy(index), dev="509:0") for index in (0, 1)), replace(warboy(2), files=())]
            )[1]
        ],
        "What Node Feature Discovery would drop": list(_dropped()),
        "A feature file that cannot be written": list(_of_files(tmp_path)),
        "An API server that does not take labels": [
            text.replace(api_server.url, "URL").replace(str(tmp_path), "HOME") for text in _of_api(api_server, access)
        ],
    }
    found = "\n".join(f"# {title}\n\n" + "".join(f"{line}\n" for line in lines) for title, lines in sections.items())
    compare(ROOT / "tests/golden/npu-feature-discovery.txt", found)


def _problems(wrong: dict[str, str]) -> list[str]:
    environment = {name: text for name, text in wrong.items() if name == "NODE_NAME"}
    options = {name: text for name, text in wrong.items() if name not in environment}
    with pytest.raises(SettingsError) as caught:
        load(options, environment)
    return str(caught.value).splitlines()


def _objections() -> Iterator[str]:
    for condition in (
        replace(GOOD, published=False),
        replace(GOOD, look_failure="/sys: EIO"),
        replace(GOOD, publish_failure="403"),
        replace(GOOD, heartbeat_age=30.0),
        replace(GOOD, removed=("/features.d",)),
    ):
        yield condition.why_not_ready


def _dropped() -> Iterator[str]:
    odd = {
        "beta.furiosa.ai/a": "Dell Inc.",
        "beta.furiosa.ai/-a": "1",
        "Beta.furiosa.ai/a": "1",
        "node.kubernetes.io/a": "1",
        "beta.furiosa.ai/ok": "1",
    }
    large = {f"beta.furiosa.ai/{index:05}": "x" * 40 for index in range(1100)}
    for labels, minor, most in ((odd, 11, None), (odd, 19, None), (large, 14, 1)):
        for each in dropped(labels, NfdVersion(0, minor), expires=NOON if minor == 11 else None)[:most]:
            yield f"v0.{minor}: {each.key}: {each.reason}"


def _of_files(directory: Path) -> Iterator[str]:
    def broken(_: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    sink = FeatureFileSink(f"{directory}/features.d/file")
    yield _said(sink).replace(str(directory), "HOME")
    (directory / "features.d/file").mkdir(parents=True)
    yield _said(sink).replace(str(directory), "HOME")
    for code in (errno.EROFS, errno.ENOSPC, errno.EIO):
        error = sink._failure(OSError(code, os.strerror(code), "/features.d/file"))
        yield f"{error.reason}: {error.message}"
    yield _said(StandardOutputSink(broken))


def _of_api(server: StandInApiServer, access: ApiAccess) -> Iterator[str]:
    feature, labels = node_feature(access), node_labels(access)
    for fault in FAULTS:
        server.fail(fault)
        yield _said(labels)
    yield _said(node_labels(access, "node-2"))
    yield _said(node_feature(access, "n" * 64))
    yield _said(node_feature(access, namespace="elsewhere"))
    server.fail(Fault(method="POST", status=409, times=3))
    yield _said(feature)
    for allowed, sink in ((("get", "nodefeatures.nfd.k8s-sigs.io"), feature), (("get", "nodes"), labels)):
        server.allowed = {allowed}
        yield _said(sink)
    server.tokens = {"another"}
    yield _said(labels)
    server.installed = False
    server.tokens, server.allowed = {"first-token"}, None
    yield _said(feature)
    Path(access.service_account_dir, "token").write_text("tok\nen", encoding="ascii")
    yield _said(labels)


def _said(sink: DirectSink | FeatureFileSink | StandardOutputSink) -> str:
    error: SinkError = failure(sink)
    return f"{error.reason}: {error.message}"
