"""What Node Feature Discovery would not publish of our labels, by its version, and why. Pure.

Source: source/local, pkg/nfd-worker and pkg/nfd-master of Node Feature Discovery at the tags v0.11 to v0.19.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from npu_core.errors import FormatError
from npu_feature_discovery.labels.feature_text import MAX_BYTES, render
from npu_feature_discovery.labels.label_value import MAX_LENGTH, is_label_value
from npu_feature_discovery.labels.table import Labels

_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:[-+][-+.0-9A-Za-z]*)?", re.ASCII)
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*", re.ASCII)
_MAX_DOMAIN = 253
_OWN_NAMESPACES = ("feature.node.kubernetes.io", "profile.node.kubernetes.io")
_DENIED_NAMESPACE = "kubernetes.io"


@dataclass(frozen=True, slots=True, order=True)
class NfdVersion:
    """A release of Node Feature Discovery. Orders as the releases do."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``v0.11``, ``0.14.2`` or ``v0.16.6-minimal``; what follows the numbers is not looked at.

        Raises:
            FormatError: on anything else.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            raise FormatError(text, "a version of Node Feature Discovery such as v0.14 or 0.14.2")
        return cls(*(int(part or 0) for part in match.groups()))

    @property
    def knows_comments(self) -> bool:
        """Whether its worker skips comments, and so takes an expiry time."""
        return self >= COMMENTS

    def __str__(self) -> str:
        number = f"v{self.major}.{self.minor}"
        return f"{number}.{self.patch}" if self.patch else number


OLDEST = NfdVersion(0, 11)
"""The oldest release whose rules are known here."""

ANY_NAMESPACE = NfdVersion(0, 13)
"""From here on the master takes every namespace but those of Kubernetes."""

COMMENTS = NfdVersion(0, 14)
"""From here on the worker knows comments, expiry times and a limit of size."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something of ours that would not arrive at the node.

    Attributes:
        key: full key of a label, or the beginning of a line that is none.
        reason: why, as a phrase for people.
    """

    key: str
    reason: str


def dropped(
    labels: Labels, version: NfdVersion, *, extra_label_ns: Collection[str] = (), expires: datetime | None = None
) -> tuple[Dropped, ...]:
    """What a worker and a master of ``version`` would drop of a feature file with these labels, in key order.

    Args:
        labels: what the file says.
        version: of worker and master.
        extra_label_ns: namespaces that the master was told to take (``--extra-label-ns``).
        expires: the expiry time that the file says, if any.
    """
    size = len(render(labels, expires))
    if version.knows_comments and size > MAX_BYTES:
        reason = f"the file has {size} bytes, and {version} ignores files of more than {MAX_BYTES}"
        return tuple(Dropped(key, reason) for key in sorted(labels))
    return tuple(_dropped(labels, version, extra_label_ns, expires))


def _dropped(
    labels: Labels, version: NfdVersion, extra_label_ns: Collection[str], expires: datetime | None
) -> Iterator[Dropped]:
    if expires is not None and not version.knows_comments:
        yield Dropped("# +expiry-time", f"{version} knows no comments: the labels would not expire ({COMMENTS} does)")
    for key in sorted(labels):
        objection = _name_objection(key) or _value_objection(labels[key])
        objection = objection or _namespace_objection(key, version, extra_label_ns)
        if objection:
            yield Dropped(key, objection)


def _name_objection(key: str) -> str | None:
    namespace, slash, name = key.rpartition("/")
    if slash and not (_DOMAIN.fullmatch(namespace) and len(namespace) <= _MAX_DOMAIN):
        return "its namespace is not a lower-case DNS domain"
    if not name or not is_label_value(name):
        return f"its name is not {MAX_LENGTH} letters, digits, '-', '_' or '.' at most, the ends alphanumeric"
    return None


def _value_objection(value: str) -> str | None:
    if is_label_value(value):
        return None
    return f"its value {value!r} is not {MAX_LENGTH} letters, digits, '-', '_' or '.' at most, the ends alphanumeric"


def _namespace_objection(key: str, version: NfdVersion, extra_label_ns: Collection[str]) -> str | None:
    namespace, slash, _ = key.rpartition("/")
    if not slash or _is_in(namespace, _OWN_NAMESPACES) or namespace in extra_label_ns:
        return None
    if version < ANY_NAMESPACE:
        option = f"--extra-label-ns={namespace}"
        return f"the namespace {namespace} is not allowed: before {ANY_NAMESPACE}, nfd-master needs {option}"
    if _is_in(namespace, (_DENIED_NAMESPACE,)):
        return f"the namespace {namespace} is not allowed: it belongs to Kubernetes"
    return None


def _is_in(namespace: str, parents: Collection[str]) -> bool:
    return any(namespace == parent or namespace.endswith(f".{parent}") for parent in parents)
