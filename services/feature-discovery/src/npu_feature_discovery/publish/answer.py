"""What the API server answers, and what a refusal means (pure)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from npu_core.printable import shortened
from npu_feature_discovery.sinks import FailureReason, SinkError

_LONGEST_MESSAGE = 400
_LONGEST_SHOWN = 100
_MAX_DIGITS = 6

_REASONS: Mapping[int, FailureReason] = {
    HTTPStatus.UNAUTHORIZED: FailureReason.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: FailureReason.FORBIDDEN,
    HTTPStatus.CONFLICT: FailureReason.CONFLICT,
    HTTPStatus.GONE: FailureReason.GONE,
    HTTPStatus.TOO_MANY_REQUESTS: FailureReason.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked for, in the API server's own terms.

    Attributes:
        verb: as in RBAC, e.g. ``create``.
        resource: as in RBAC, with its group, e.g. ``nodefeatures.nfd.k8s-sigs.io``.
        name: the object's.
        namespace: the object's; None if it has none.
    """

    verb: str
    resource: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        """The call, for people."""
        place = "" if self.namespace is None else f' in namespace "{self.namespace}"'
        return f'{self.verb} {self.resource} "{self.name}"{place}'


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole.

    Attributes:
        status: the HTTP status.
        body: as it came.
        retry_after: the header of that name; None without it.
    """

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def not_found(self) -> bool:
        """Whether there is nothing at that path, or no such path."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def missing(self) -> str | None:
        """What is not there, as ``<resource> <name>``; None if that is not what this answer says.

        A path that the API server does not know, as that of a resource not installed, is answered by a 404 that names
        no object.
        """
        if not self.not_found:
            return None
        details = self._parsed().get("details")
        if not isinstance(details, Mapping) or "name" not in details:
            return None
        return f"{details.get('kind')} {details['name']}"

    def confirm(self, call: Call) -> None:
        """Take this for a write that is done.

        Raises:
            SinkError: if it is a refusal.
        """
        if not self.ok:
            raise refusal(self, call)

    def document(self, call: Call) -> Mapping[str, Any]:
        """The object answered with, which has ``metadata`` at least.

        Raises:
            SinkError: if it is a refusal, or no object.
        """
        self.confirm(call)
        parsed = self._parsed()
        if not isinstance(parsed.get("metadata"), Mapping):
            text = f"{call}: the API server's answer is no object with metadata: {self.message()}"
            raise SinkError(FailureReason.SERVER_ERROR, text)
        return parsed

    def message(self) -> str:
        """What the API server says, on one line."""
        said = self._parsed().get("message") or self.body.decode(errors="replace") or "no reason given"
        return " ".join(str(said).split())[:_LONGEST_MESSAGE]

    def _parsed(self) -> Mapping[str, Any]:
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):  # no JSON, or JSON that is nested too deeply
            return {}
        return parsed if isinstance(parsed, dict) else {}


def refusal(answer: Answer, call: Call) -> SinkError:
    """Why the API server did not do it, of a status that says so."""
    said = f"{call}: {answer.status} {answer.message()}"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        reason = FailureReason.SERVER_ERROR
    else:
        reason = _REASONS.get(answer.status, FailureReason.REFUSED)
    if reason is FailureReason.FORBIDDEN:
        said += f" (RBAC has to allow the verb {call.verb} on {call.resource})"
    return SinkError(reason, said, retry_after=_seconds(answer.retry_after))


def mapping(parent: Mapping[str, Any], key: str, call: Call) -> Mapping[str, Any]:
    """The mapping at ``key`` of an answer; empty if there is nothing.

    Raises:
        SinkError: if there is something else.
    """
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _odd(call, key, value, "a mapping")
    return value


def mappings(parent: Mapping[str, Any], key: str, call: Call) -> list[Mapping[str, Any]]:
    """The list of mappings at ``key`` of an answer; empty if there is nothing.

    Raises:
        SinkError: if there is something else.
    """
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise _odd(call, key, value, "a list of mappings")
    return value


def text_at(parent: Mapping[str, Any], key: str, call: Call) -> str:
    """The text at ``key`` of an answer.

    Raises:
        SinkError: if there is none.
    """
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise _odd(call, key, value, "a text")
    return value


def _odd(call: Call, key: str, value: object, expected: str) -> SinkError:
    shown = shortened(json.dumps(value), _LONGEST_SHOWN)
    text = f"{call}: the API server's answer has {key} {shown}: expected {expected}"
    return SinkError(FailureReason.SERVER_ERROR, text)


def _seconds(retry_after: str | None) -> float | None:
    """The API server gives whole seconds; a date, as a proxy may give it, is as good as nothing."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()) or len(retry_after) > _MAX_DIGITS:
        return None
    return float(retry_after)
