"""A stand-in for Node Feature Discovery, as far as feature files go: what each release makes of a features.d.

It reads a directory as nfd-worker does at one discovery run and filters the labels as worker and nfd-master do.
Written from the releases' behaviour and on its own: it shares no code with what it judges.

Where a real worker is another user than the writer, so is this one, whoever runs the tests: a file that others may
not read is refused.

Source: source/local/local.go, pkg/nfd-worker/nfd-worker.go and pkg/nfd-master/nfd-master.go at the tags v0.11.0,
v0.14.0, v0.15.0 and v0.19.0.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_GO_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OURS = ("feature.node.kubernetes.io", "profile.node.kubernetes.io")


@dataclass(frozen=True, slots=True)
class Rules:
    """How releases differ.

    Attributes:
        trims: lines are trimmed at both ends.
        comments: ``#`` lines are skipped, and ``# +...`` are directives.
        skips: the directives ``no-feature`` and ``no-label`` are known.
        hides_dot_files: a file whose name starts with a dot is not read.
        limit: bytes from which on, exclusive, a file is ignored; None for no limit.
        open_namespaces: any label namespace but Kubernetes' own is taken.
    """

    trims: bool
    comments: bool
    skips: bool
    hides_dot_files: bool
    limit: int | None
    open_namespaces: bool


_V0_11 = Rules(trims=False, comments=False, skips=False, hides_dot_files=False, limit=None, open_namespaces=False)
_V0_14 = Rules(trims=True, comments=True, skips=False, hides_dot_files=False, limit=65536, open_namespaces=True)
_V0_15 = Rules(trims=True, comments=True, skips=True, hides_dot_files=True, limit=65536, open_namespaces=True)

RULES: dict[str, Rules] = {"v0.11": _V0_11, "v0.14": _V0_14, "v0.15": _V0_15, "v0.19": _V0_15}
"""By release. v0.19 differs from v0.15 in when it looks, not in what it reads."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one discovery run ends in.

    Attributes:
        labels: what arrives at the node.
        log: what worker and master write, a line each, the message first.
    """

    labels: dict[str, str]
    log: tuple[str, ...]


@dataclass(slots=True)
class _FileState:
    """What directives have said so far in one file."""

    now: datetime
    expires: datetime
    skip_label: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class Worker:
    """One release's worker, with its master, on one features.d.

    Attributes:
        rules: of the release.
    """

    def __init__(
        self,
        directory: Path,
        version: str,
        *,
        extra_label_ns: Collection[str] = (),
        deny_label_ns: Collection[str] = (),
        white_list: str = "",
    ) -> None:
        self.rules = RULES[version]
        self._directory = directory
        self._extra = frozenset(extra_label_ns)
        self._denied = (*deny_label_ns, "kubernetes.io", "*.kubernetes.io")
        self._white_list = re.compile(white_list)
        self._log: list[str] = []

    def discover(self, now: datetime | None = None) -> Reading:
        """Read the directory once, as of ``now``."""
        self._log = []
        found = self._read_directory(now or datetime.now(UTC))
        labels = {key: value for key, value in self._worker_filter(found) if self._master_takes(key)}
        return Reading(labels, tuple(self._log))

    # The worker's source "local"

    def _read_directory(self, now: datetime) -> dict[str, str]:
        try:
            paths = sorted(self._directory.iterdir(), key=lambda path: path.name.encode(errors="surrogateescape"))
        except FileNotFoundError:
            self._say("features directory does not exist", path=self._directory)
            return {}
        found: dict[str, str] = {}
        for path in paths:
            if self.rules.hides_dot_files and path.name.startswith("."):
                continue
            for key, value in self._read_file(path, now).items():
                if key in found:
                    self._say("overriding label value from another feature file", labelKey=key, fileName=path.name)
                found[key] = value
        return found

    def _read_file(self, path: Path, now: datetime) -> dict[str, str]:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return {}
            if self.rules.limit is not None and status.st_size > self.rules.limit:
                self._say("failed to read file", fileName=path.name, err="file size limit exceeded")
                return {}
            if not status.st_mode & stat.S_IROTH:
                self._say("failed to read file", fileName=path.name, err="permission denied")
                return {}
            content = path.read_bytes()
        except OSError as error:
            self._say("failed to read file", fileName=path.name, err=error.strerror)
            return {}
        return self._parse(content.decode(errors="surrogateescape"), path.name, now)

    def _parse(self, content: str, name: str, now: datetime) -> dict[str, str]:
        state = _FileState(now, now)
        for raw in content.split("\n"):
            line = raw.strip(_GO_BLANKS) if self.rules.trims else raw
            if not line:
                continue
            if self.rules.comments and line.startswith("#"):
                self._direct(line, name, state)
            elif state.expires >= state.now:
                self._take(line, state)
        return state.labels

    def _direct(self, line: str, name: str, state: _FileState) -> None:
        if not line.startswith("# +"):
            return
        key, separator, value = line.removeprefix("# +").partition("=")
        if key == "expiry-time":
            expires = _time(value.strip(_GO_BLANKS)) if separator else None
            if expires is not None:
                state.expires = expires
                return
        elif self.rules.skips and key in {"no-feature", "no-label"}:
            state.skip_label |= key == "no-label"
            return
        self._say("error while parsing directives", fileName=name, line=line)

    @staticmethod
    def _take(line: str, state: _FileState) -> None:
        key, separator, value = line.partition("=")
        if state.skip_label:
            state.labels.pop(key, None)
        else:
            state.labels[key] = value if separator else "true"
        state.skip_label = False

    # What worker and master let through

    def _worker_filter(self, found: dict[str, str]) -> Iterator[tuple[str, str]]:
        for key, value in found.items():
            full = key if "/" in key else f"{_OURS[0]}/{key}"
            if not is_qualified_name(full):
                self._say("ignoring label with invalid name", labelKey=full)
            elif not is_value(value):
                self._say("ignoring label with invalid value", labelKey=full, labelValue=value)
            elif not self._white_list.search(full.partition("/")[2]):
                self._say("label does not match the whitelist and will not be published", labelKey=full)
            else:
                yield full, value

    def _master_takes(self, key: str) -> bool:
        namespace = key.partition("/")[0]
        own = namespace in _OURS or namespace.endswith(tuple(f".{each}" for each in _OURS))
        refused = self._is_denied(namespace) if self.rules.open_namespaces else True
        if own or not refused or namespace in self._extra:
            return True
        self._say("Namespace is not allowed. Ignoring label", namespace=namespace, labelKey=key)
        return False

    def _is_denied(self, namespace: str) -> bool:
        return any(
            namespace.endswith(denied[1:]) if denied.startswith("*.") else namespace == denied
            for denied in self._denied
        )

    def _say(self, message: str, **fields: object) -> None:
        self._log.append(" ".join((message, *(f'{key}="{value}"' for key, value in fields.items()))))


def _time(text: str) -> datetime | None:
    """A time as RFC 3339 has it; None if it is not one. Python alone would take more."""
    try:
        return datetime.fromisoformat(text) if _RFC3339.fullmatch(text) else None
    except ValueError:
        return None


def is_qualified_name(key: str) -> bool:
    """Whether Kubernetes takes ``key`` as a label's name: an optional DNS subdomain, a slash, and a name."""
    parts = key.split("/")
    name = parts[-1]
    if len(parts) > 2 or not name or not is_value(name):
        return False
    return len(parts) == 1 or _is_subdomain(parts[0])


def is_value(text: str) -> bool:
    """Whether Kubernetes takes ``text`` as a label's value."""
    if not text:
        return True
    return len(text) <= 63 and {text[0], text[-1]} <= _ALNUM and set(text) <= _ALNUM | set("-_.")


def _is_subdomain(text: str) -> bool:
    return len(text) <= 253 and all(
        label and {label[0], label[-1]} <= _LOWER and set(label) <= _LOWER | {"-"} for label in text.split(".")
    )
