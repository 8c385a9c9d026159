"""The API server's refusals: a Status object each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class RefusalError(Exception):
    """An answer that is a refusal."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


class NoSuchPathError(Exception):
    """The API server has no such path: plain text, not a Status."""


def not_found(resource: str, name: str) -> RefusalError:
    kind, _, group = resource.partition(".")
    details = {"name": name, "kind": kind} | ({"group": group} if group else {})
    return RefusalError(404, "NotFound", f'{resource} "{name}" not found', details)


def already_exists(resource: str, name: str) -> RefusalError:
    return RefusalError(409, "AlreadyExists", f'{resource} "{name}" already exists')


def conflict(resource: str, name: str, why: str) -> RefusalError:
    return RefusalError(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def invalid(resource: str, name: str, why: str) -> RefusalError:
    return RefusalError(422, "Invalid", f'{resource} "{name}" is invalid: {why}')


def forbidden(verb: str, resource: str, name: str) -> RefusalError:
    kind, _, group = resource.partition(".")
    user = "system:serviceaccount:npu:npu-feature-discovery"
    why = f'User "{user}" cannot {verb} resource "{kind}" in API group "{group}"'
    return RefusalError(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}')


def unauthorized() -> RefusalError:
    return RefusalError(401, "Unauthorized", "Unauthorized")


def bad_request(why: str) -> RefusalError:
    return RefusalError(400, "BadRequest", why)


def unsupported(content_type: str) -> RefusalError:
    why = f"the body of the request was in an unknown format: {content_type}"
    return RefusalError(415, "UnsupportedMediaType", why)
