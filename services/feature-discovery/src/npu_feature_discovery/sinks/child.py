"""The parent's side of a publication through the API server: one short-lived process for each.

The client for the API server is heavy; it lives in that process (:mod:`npu_feature_discovery.publish`) alone. Request
and answer are a JSON object each, over its standard input and output. The service logs
the child's standard error after the child has ended. A child that wrote to the log itself would not end while nobody
reads the log.

What it costs: see docs/adr/0012-api-sinks-in-a-child.md.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import StrEnum

from npu_core.os_errors import explain
from npu_core.service.logs import EventLog
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.sinks import FailureReason, Outcome, SinkError

_log = EventLog(__name__)
START_ALLOWANCE = 5.0
"""Seconds that the process has beyond the API's time limit, to start and to end. A busy node starts it slowly."""

_MAX_LINES = 50
"""How many of the last lines of a child's standard error are logged. The last line of a traceback has the reason."""
_MAX_LINE_CHARACTERS = 1000
_PROGRAM = ("-P", "-m", "npu_feature_discovery.publish")


class Action(StrEnum):
    """What the child is to do."""

    PUBLISH = "publish"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """How the API server is reached.

    Attributes:
        kubeconfig: a kubeconfig file; None takes the pod's service account and ``KUBERNETES_SERVICE_HOST``, ``_PORT``.
        service_account_dir: where the service account's ``token`` and ``ca.crt`` are. Read afresh each time, so that a
            rotated token is taken up.
        timeout: seconds that all requests of one publication may take together.
    """

    kubeconfig: str | None
    service_account_dir: str
    timeout: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is written to.

    Attributes:
        sink: ``node-feature`` or ``node-labels``.
        node: the node's name.
        namespace: the NodeFeature's namespace; None for a node's own labels.
    """

    sink: str
    node: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One job for a child."""

    action: Action
    access: ApiAccess
    target: Target
    labels: Labels


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the operator should know about a publication that succeeded.

    Attributes:
        text: a sentence.
        is_warning: whether the operator has to act.
    """

    text: str
    is_warning: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What a child did.

    Attributes:
        outcome: of the publication or removal.
        notes: what else the operator should know.
    """

    outcome: Outcome
    notes: tuple[Note, ...] = ()


def encode_request(request: Request) -> bytes:
    """The request as the child reads it."""
    access, target = request.access, request.target
    return json.dumps(
        {
            "action": request.action,
            "kubeconfig": access.kubeconfig,
            "serviceAccountDir": access.service_account_dir,
            "timeout": access.timeout,
            "sink": target.sink,
            "node": target.node,
            "namespace": target.namespace,
            "labels": dict(request.labels),
        }
    ).encode()


def decode_request(data: bytes) -> Request:
    """The inverse of :func:`encode_request`.

    Raises:
        ValueError, KeyError: if it is none.
    """
    given = json.loads(data)
    access = ApiAccess(given["kubeconfig"], given["serviceAccountDir"], given["timeout"])
    target = Target(given["sink"], given["node"], given["namespace"])
    return Request(Action(given["action"]), access, target, given["labels"])


def encode_answer(answer: Done | SinkError) -> bytes:
    """What became of a request, as the parent reads it."""
    if isinstance(answer, Done):
        return json.dumps(
            {"outcome": answer.outcome, "notes": [[note.text, note.is_warning] for note in answer.notes]}
        ).encode()
    failed = {"reason": answer.reason, "message": answer.message, "retryAfter": answer.retry_after}
    return json.dumps({"failed": failed}).encode()


def decode_answer(data: bytes) -> Done | SinkError:
    """The inverse of :func:`encode_answer`.

    Raises:
        ValueError, KeyError, TypeError: if it is none.
    """
    given = json.loads(data)
    if "outcome" in given:
        return Done(Outcome(given["outcome"]), tuple(Note(str(text), bool(warns)) for text, warns in given["notes"]))
    failed = given["failed"]
    return SinkError(FailureReason(failed["reason"]), str(failed["message"]), retry_after=failed["retryAfter"])


class Child:
    """Runs one process at a time. One thread runs; :meth:`close` is for any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, request: Request) -> Outcome:
        """Have this done.

        After :meth:`close` nothing is published any more, but removing is still possible: it is what a clean-up at
        the end of the service asks for.

        Raises:
            SinkError: if it was not possible, in the child's words or for what became of the child.
        """
        limit = request.access.timeout + START_ALLOWANCE
        process = self._start(request)
        try:
            data, complaints = process.communicate(encode_request(request), limit)
        except subprocess.TimeoutExpired as error:
            _log_complaints(error.stderr or b"")
            raise SinkError(FailureReason.TIMEOUT, f"publishing took longer than {limit:g} s and was ended") from error
        finally:
            self._end(process)
        _log_complaints(complaints)
        return self._outcome(process, data)

    def close(self) -> None:
        """End the process that runs, if any, and let none publish any more."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                _kill(self._process)

    def _start(self, request: Request) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed and request.action is Action.PUBLISH:
                raise SinkError(FailureReason.CLOSED, "nothing is published any more: the service ends")
            try:
                # A group of its own, so that what a kubeconfig's credential plugin starts ends with it.
                self._process = subprocess.Popen(  # noqa: S603  # this program's own
                    [sys.executable, *_PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=0,
                )
            except OSError as error:
                reason = f"cannot start a process to publish: {explain(error, sys.executable)}"
                raise SinkError(FailureReason.CHILD_FAILED, reason) from error
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            _kill(process)
            self._process = None
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _outcome(self, process: subprocess.Popen[bytes], data: bytes) -> Outcome:
        if self._closed and process.returncode == -signal.SIGKILL:
            raise SinkError(FailureReason.CLOSED, "ended while publishing: the service ends")
        try:
            answer = decode_answer(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"the process that publishes ended with status {process.returncode} and no answer"
            raise SinkError(FailureReason.CHILD_FAILED, text) from error
        if isinstance(answer, SinkError):
            raise answer
        for note in answer.notes:
            tell = _log.warning if note.is_warning else _log.info
            tell(Event.OTHER_NAMESPACES, detail=note.text)
        return answer.outcome


def _log_complaints(complaints: bytes) -> None:
    for line in complaints.decode("utf-8", "backslashreplace").splitlines()[-_MAX_LINES:]:
        _log.warning(Event.CHILD_SAID, text=line[:_MAX_LINE_CHARACTERS])


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
