"""The child process behind the API sinks: what it answers, how it is ended, and what it leaves."""

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError
from npu_feature_discovery.sinks.api_sink import NodeLabelsSink
from npu_feature_discovery.sinks.child import (
    Action,
    ApiAccess,
    Child,
    Done,
    Note,
    Request,
    Target,
    encode_answer,
)
from testkit.standins.apiserver import Fault, StandInApiServer
from testkit.waiting import PATIENCE, until
from tests.feature_discovery.rigs import failure, told

LABELS: Labels = {"beta.furiosa.ai/npu.count": "1"}
REQUEST = Request(Action.PUBLISH, ApiAccess(None, "", PATIENCE), Target("node-labels", "n"), LABELS)


@pytest.fixture
def sink(access: ApiAccess) -> NodeLabelsSink:
    return NodeLabelsSink(access, "node-1")


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


class LatestExposition:
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
def stuck(api_server: StandInApiServer, sink: NodeLabelsSink) -> Iterator[LatestExposition]:
    """A publication that waits for an answer which does not come."""
    api_server.fail(Fault(delay=2 * PATIENCE))
    publication = LatestExposition(sink)
    until(lambda: api_server.asked, "a request")
    yield publication
    sink.close()
    publication.reason()


def _answers(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let children be this program instead."""
    monkeypatch.setattr("npu_feature_discovery.sinks.child._PROGRAM", ("-c", program))


# -- what it answers --------------------------------------------------------------------------------------------------


def test_a_publication_leaves_no_process_and_no_descriptor(api_server: StandInApiServer, sink: NodeLabelsSink) -> None:
    assert sink.publish(LABELS) is Outcome.CREATED
    before = _descriptors()
    sink.forget()
    assert sink.publish(LABELS) is Outcome.UNCHANGED
    assert _children() == set()
    # The server's own connections come and go by themselves.
    until(lambda: _descriptors() <= before, "no more descriptors than before")
    assert [asked.method for asked in api_server.asked] == ["GET", "PATCH", "GET"]


def test_an_answer_that_trickles_in_is_a_timeout(api_server: StandInApiServer, access: ApiAccess) -> None:
    """Each read comes in time; the whole answer does not."""
    api_server.fail(Fault(trickle=0.1, times=None))
    assert failure(NodeLabelsSink(replace(access, timeout=0.5), "node-1")).reason is FailureReason.TIMEOUT


@pytest.mark.parametrize("is_warning", [True, False])
def test_what_the_operator_should_know_of_a_success_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, is_warning: bool
) -> None:
    caplog.set_level(logging.INFO)
    answer = encode_answer(Done(Outcome.CREATED, (Note("one thing", is_warning=is_warning),)))
    _answers(monkeypatch, f"import sys; sys.stdin.read(); sys.stdout.buffer.write({answer!r})")
    assert Child().run(REQUEST) is Outcome.CREATED
    assert told(caplog) == [(Event.OTHER_NAMESPACES, {"detail": "one thing"})]
    assert caplog.records[0].levelno == (logging.WARNING if is_warning else logging.INFO)


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"outcome": "done", "notes": []}', '{"failed": {"reason": "x"}}'])
def test_an_answer_that_is_none_is_a_failure_of_the_child(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    _answers(monkeypatch, f"import sys; sys.stdin.read(); sys.stdout.write({answer!r})")
    with pytest.raises(SinkError) as caught:
        Child().run(REQUEST)
    assert caught.value.reason is FailureReason.CHILD_FAILED


def test_a_child_that_cannot_be_started_is_a_failure_that_names_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SinkError) as caught:
        Child().run(REQUEST)
    assert caught.value.reason is FailureReason.CHILD_FAILED
    assert "/nowhere/python" in caught.value.message


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
    _answers(
        monkeypatch,
        "import sys; sys.stderr.write('x\\n' * 100 + 'first\\n' + 'x' * 200_000 + '\\n' + 'last\\n' * 48); sys.exit(3)",
    )
    with pytest.raises(SinkError, match="status 3") as caught:
        Child().run(REQUEST)
    assert caught.value.reason is FailureReason.CHILD_FAILED
    said = [fields["text"] for event, fields in told(caplog) if event == Event.CHILD_SAID]
    assert len(said) == 50
    assert (said[0], said[-1]) == ("first", "last")
    assert max(len(str(text)) for text in said) == 1000


def test_what_a_child_said_before_it_was_ended_is_logged_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why it hangs may be there: a kubeconfig's program that gives credentials waits for somebody to log in."""
    _answers(
        monkeypatch,
        "import sys, time; sys.stderr.write('waiting for a password\\n'); sys.stderr.flush(); time.sleep(600)",
    )
    communicate = subprocess.Popen.communicate

    def once_it_has_said_it(process: subprocess.Popen[bytes], given: bytes, _: float) -> tuple[bytes, bytes]:
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], PATIENCE)[0]
        return communicate(process, given, 0.2)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_has_said_it)
    with pytest.raises(SinkError) as caught:
        Child().run(REQUEST)
    assert caught.value.reason is FailureReason.TIMEOUT
    assert told(caplog) == [(Event.CHILD_SAID, {"text": "waiting for a password"})]
    assert _children() == set()


# -- how it is ended --------------------------------------------------------------------------------------------------


def test_closing_ends_a_publication_under_way_and_leaves_no_process(
    sink: NodeLabelsSink, stuck: LatestExposition
) -> None:
    assert _children()
    sink.close()
    assert stuck.reason() is FailureReason.CLOSED
    assert _children() == set()


def test_closing_ends_what_a_kubeconfig_started_as_well(tmp_path: Path) -> None:
    started, config = tmp_path / "started", tmp_path / "config"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/sh",
        "args": ["-c", f"echo $$ > {started}.part; mv {started}.part {started}; exec sleep 600"],
        "interactiveMode": "Never",
    }
    parts = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    config.write_text(json.dumps(parts), encoding="utf-8")
    sink = NodeLabelsSink(ApiAccess(str(config), "", PATIENCE), "node-1")
    publication = LatestExposition(sink)
    until(started.exists, "the program that gives credentials")
    status = Path("/proc", started.read_text(encoding="ascii").strip(), "stat")
    assert status.exists()
    sink.close()
    assert publication.reason() is FailureReason.CLOSED
    until(lambda: not status.exists() or ") Z " in status.read_text(encoding="ascii"), "the end of that program")


def test_nothing_is_published_after_closing_but_what_is_there_can_be_removed(
    api_server: StandInApiServer, sink: NodeLabelsSink
) -> None:
    sink.publish(LABELS)
    sink.close()
    sink.close()
    sink.forget()
    assert failure(sink).reason is FailureReason.CLOSED
    assert sink.remove() is Outcome.REMOVED
    assert "beta.furiosa.ai/npu.count" not in api_server.node_labels("node-1")


def test_a_child_that_is_killed_is_a_failure_and_the_next_one_works(
    api_server: StandInApiServer, sink: NodeLabelsSink, stuck: LatestExposition
) -> None:
    (child,) = _children()
    os.kill(child, 9)
    assert stuck.reason() is FailureReason.CHILD_FAILED
    assert isinstance(stuck.outcome, SinkError)
    assert "status -9" in stuck.outcome.message
    api_server.heal()
    assert sink.publish(LABELS) is Outcome.CREATED
