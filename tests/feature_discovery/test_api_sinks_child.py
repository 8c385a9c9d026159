"""The child process behind the API sinks: how it is ended, and what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npu_feature_discovery.labels import Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.child import (
    Action,
    ApiAccess,
    Child,
    Done,
    Note,
    Request,
    Target,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from npu_feature_discovery.sinks.node_labels import NodeLabelsSink
from testkit.standins.apiserver import Fault, StandInApiServer
from testkit.waiting import PATIENCE

LABELS: Labels = {"beta.furiosa.ai/npu.count": "1"}


@pytest.fixture
def sink(service_account: Path) -> NodeLabelsSink:
    return NodeLabelsSink(ApiAccess(None, str(service_account), 30.0), "node-1")


def _children() -> set[int]:
    """The processes that this one has started and that are still there, ended ones not waited for included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end between the listing and the reading; the kernel gives its children to another thread.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(pid) for pid in (task / "children").read_text(encoding="ascii").split()}
    return found


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _state(process: Path) -> str:
    return (process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Publication:
    """A publication under way on a thread of its own."""

    def __init__(self, sink: NodeLabelsSink) -> None:
        self.outcome: Outcome | SinkError | None = None
        self._sink = sink
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._sink.publish(LABELS)
        except SinkError as error:
            self.outcome = error

    def reason(self) -> FailureReason | None:
        self._thread.join(PATIENCE)
        return self.outcome.reason if isinstance(self.outcome, SinkError) else None


@pytest.fixture
def stuck(api_server: StandInApiServer, sink: NodeLabelsSink) -> Iterator[Publication]:
    """A publication that waits for an answer."""
    api_server.fail(Fault(delay=60))
    publication = Publication(sink)
    wait_until(lambda: bool(api_server.asked))
    yield publication
    sink.close()
    publication.reason()


def test_closing_ends_a_publication_under_way_at_once_and_leaves_no_process(
    sink: NodeLabelsSink, stuck: Publication
) -> None:
    before = _children()
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 0.2
    assert stuck.reason() is FailureReason.CLOSED
    assert time.monotonic() - begin < 1
    assert before
    assert _children() == set()


def test_closing_ends_what_a_kubeconfig_started_as_well(tmp_path: Path) -> None:
    started, config = tmp_path / "started", tmp_path / "config"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/sh",
        "args": ["-c", f"echo $$ > {started}.part; mv {started}.part {started}; exec sleep 60"],
        "interactiveMode": "Never",
    }
    parts = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    config.write_text(json.dumps(parts), encoding="utf-8")
    sink = NodeLabelsSink(ApiAccess(str(config), "", 30.0), "node-1")
    publication = Publication(sink)
    wait_until(started.exists)
    process = Path("/proc", started.read_text(encoding="ascii").strip())
    assert process.exists()
    sink.close()
    assert publication.reason() is FailureReason.CLOSED
    wait_until(lambda: not process.exists() or _state(process) == "Z")


def test_nothing_is_published_after_closing_but_what_is_there_can_be_removed(
    api_server: StandInApiServer, sink: NodeLabelsSink
) -> None:
    sink.publish(LABELS)
    sink.close()
    sink.forget()
    with pytest.raises(SinkError) as caught:
        sink.publish(LABELS)
    assert caught.value.reason is FailureReason.CLOSED
    assert sink.remove() is Outcome.REMOVED
    assert "beta.furiosa.ai/npu.count" not in api_server.node_labels("node-1")


def test_closing_twice_or_with_nothing_under_way_does_nothing(sink: NodeLabelsSink) -> None:
    sink.close()
    sink.close()


def test_a_child_that_is_killed_is_a_failure_and_the_next_one_works(
    api_server: StandInApiServer, sink: NodeLabelsSink, stuck: Publication
) -> None:
    (child,) = _children()
    os.kill(child, 9)
    assert stuck.reason() is FailureReason.CHILD_FAILED
    assert isinstance(stuck.outcome, SinkError)
    assert "status -9" in stuck.outcome.message
    api_server.heal()
    assert sink.publish(LABELS) is Outcome.CREATED


def test_what_breaks_in_the_child_is_told_on_standard_error() -> None:
    given = b'{"action": "publish"}'
    command = [sys.executable, "-P", "-m", "npu_feature_discovery.publish"]
    ended = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"KeyError" in ended.stderr


def test_what_a_child_says_on_standard_error_is_logged_and_waits_for_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than any pipe holds: a child that wrote it to a log that nobody reads would never end."""
    says = "import sys; sys.stderr.write('first\\n' + 'x' * 200_000 + '\\nlast\\n'); sys.exit(3)"
    monkeypatch.setattr("npu_feature_discovery.sinks.child._PROGRAM", ("-c", says))
    request = Request(Action.PUBLISH, ApiAccess(None, "", PATIENCE), Target("node-labels", "n"), LABELS)
    with pytest.raises(SinkError, match="status 3") as caught:
        Child().run(request)
    assert caught.value.reason is FailureReason.CHILD_FAILED
    said = [getattr(record, "npu_fields")["text"] for record in caplog.records]  # noqa: B009  # not a field of its type
    assert (said[0], said[-1]) == ("first", "last")
    assert max(map(len, said)) < 10_000


def test_a_publication_leaves_no_process_and_no_descriptor(api_server: StandInApiServer, sink: NodeLabelsSink) -> None:
    sink.publish(LABELS)
    before = _descriptors()
    for _ in range(3):
        sink.forget()
        sink.publish(LABELS)
    assert _children() == set()
    # The server's own connections come and go by themselves.
    wait_until(lambda: _descriptors() <= before)
    assert len(api_server.asked) == 5


def test_the_sinks_do_not_load_the_client() -> None:
    code = (
        "import sys, npu_feature_discovery.sinks.node_feature, npu_feature_discovery.sinks.node_labels;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'kubernetes', 'urllib3', 'ssl', 'asyncio'}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "[]\n"


def test_requests_and_answers_come_out_as_they_went_in() -> None:
    request = Request(Action.REMOVE, ApiAccess("k", "s", 1.5), Target("node-feature", "n", "npu"), {"a/b": "ü"})
    assert decode_request(encode_request(request)) == request
    for done in (
        Done(Outcome.REMOVED),
        Done(Outcome.CREATED, (Note("one", is_warning=True), Note("two", is_warning=False))),
    ):
        assert decode_answer(encode_answer(done)) == done
    failed = decode_answer(encode_answer(SinkError(FailureReason.THROTTLED, "slow down", retry_after=3.0)))
    assert isinstance(failed, SinkError)
    assert (failed.reason, failed.message, failed.retry_after) == (FailureReason.THROTTLED, "slow down", 3.0)


def test_what_a_child_said_before_it_was_ended_is_logged_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why it hangs may be there: a kubeconfig's program that gives credentials waits for somebody to log in."""
    says = "import sys, time; sys.stderr.write('waiting for a password\\n'); sys.stderr.flush(); time.sleep(600)"
    monkeypatch.setattr("npu_feature_discovery.sinks.child._PROGRAM", ("-c", says))
    communicate = subprocess.Popen.communicate

    def once_it_has_said_it(process: subprocess.Popen[bytes], given: bytes, _: float) -> tuple[bytes, bytes]:
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], PATIENCE)[0]
        return communicate(process, given, 2.0)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_has_said_it)
    request = Request(Action.PUBLISH, ApiAccess(None, "", PATIENCE), Target("node-labels", "n"), LABELS)
    with pytest.raises(SinkError) as caught:
        Child().run(request)
    assert caught.value.reason is FailureReason.TIMEOUT
    said = [getattr(record, "npu_fields")["text"] for record in caplog.records]  # noqa: B009  # not a field of its type
    assert said == ["waiting for a password"]
