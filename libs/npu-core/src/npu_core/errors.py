"""What can go wrong, sorted by whose fault it is.

    NpuError
    ├── UsageError                  the caller asked for something that cannot be
    │   └── UnsupportedDeviceError  ... of a kind of card this library does not know
    ├── SettingsError               the operator's settings; carries every problem at once
    └── HostError                   the machine; names the path and chains the OSError
        ├── AccessDeniedError       permission refused (EACCES, EPERM)
        ├── MissingError            no such file (ENOENT, ENOTDIR): this driver may not offer it
        ├── GoneError               the device behind the file went away (ENODEV, ENXIO)
        ├── BusyError               somebody else holds it (EBUSY, EAGAIN)
        ├── ReadFailedError         any other error of the operating system (EIO, ...)
        ├── ExhaustedError          this process or the machine has nothing left to ask with (EMFILE, ENOMEM, no thread)
        ├── FormatError             it could be read, but does not say what it should
        │   └── ImpossibleError     it holds a number outside the possible range
        ├── SensorFaultError        the driver itself says that the value is not to be trusted
        └── StuckError              a read did not come back before its deadline

Callers catch a branch; each kind of :class:`HostError` has a :class:`Reason`, a closed set that is safe to use
as a metric label.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from npu_core.document import Value


class NpuError(Exception):
    """Base of every error this library raises on purpose."""


class UsageError(NpuError, ValueError):
    """The caller's fault: an argument that no host could satisfy."""


class UnsupportedDeviceError(UsageError):
    """A kind of card that is not in the architecture table.

    Attributes:
        device_type: what the card calls itself.
    """

    def __init__(self, device_type: str, supported: Iterable[str]) -> None:
        self.device_type = device_type
        self.supported = tuple(supported)
        super().__init__(f"unsupported device type {device_type!r}, expected one of {', '.join(self.supported)}")


LONGEST_SHOWN = 80
"""Characters of a given text that a message shows."""

MOST_TOLD = 50
"""Problems that one message tells one by one."""


def shortened(text: str) -> str:
    """The text, or its first :data:`LONGEST_SHOWN` characters and an ellipsis."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


class ProblemCode(StrEnum):
    """What kind of thing is wrong with the settings. Programs decide by the code; a person reads the sentence."""

    VALUE = "value"
    UNKNOWN_KEY = "unknown_key"
    DUPLICATE_KEY = "duplicate_key"
    MISSING = "missing"
    CONFLICT = "conflict"
    SYNTAX = "syntax"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Problem(Value):
    """One thing wrong with the settings.

    Attributes:
        key: the option or configuration key, as the operator wrote it.
        value: what was given, as text; None where nothing was.
        expected: what would have been right, in words.
        source: where it came from: ``--option``, an environment variable, or a file.
        line: 1-based line of the file, if it came from one.
        code: the kind of problem.
    """

    key: str
    value: str | None
    expected: str
    source: str
    line: int | None = None
    code: ProblemCode = ProblemCode.VALUE

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        given = "is missing" if self.value is None else f"is {self.value!r}"
        return f"{where}: {self.key} {given}: expected {self.expected}"


class SettingsError(NpuError):
    """The operator's fault: every problem found in one set of settings.

    Attributes:
        problems: at least one, in the order of their source.
        told: a line for each of the first :data:`MOST_TOLD` problems, and one that counts the others.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        told = [str(problem) for problem in self.problems[:MOST_TOLD]]
        if more := len(self.problems) - len(told):
            told.append(f"and {more} more problems")
        self.told = tuple(told)
        super().__init__("\n".join(told))


class Reason(StrEnum):
    """Why something on the host could not be read. A closed set, fit for a metric label."""

    ACCESS = "access"
    MISSING = "missing"
    GONE = "gone"
    BUSY = "busy"
    IO = "io"
    FORMAT = "format"
    IMPOSSIBLE = "impossible"
    FAULT = "fault"
    STUCK = "stuck"
    EXHAUSTED = "exhausted"


class HostError(NpuError):
    """The machine's fault.

    Attributes:
        path: the file or directory concerned, as it was opened; None where text was parsed that has no path yet.
        detail: what happened, without the path.
    """

    reason: ClassVar[Reason] = Reason.IO

    def __init__(self, detail: str, *, path: str | None = None) -> None:
        self.detail = detail
        self.path = path
        super().__init__(detail if path is None else f"{path}: {detail}")


class AccessDeniedError(HostError):
    """Permission refused."""

    reason = Reason.ACCESS


class MissingError(HostError):
    """No such file. For an attribute it means that this driver does not offer it."""

    reason = Reason.MISSING


class GoneError(HostError):
    """The file is there, but the device behind it is not any more."""

    reason = Reason.GONE


class BusyError(HostError):
    """Somebody else holds it."""

    reason = Reason.BUSY


class ReadFailedError(HostError):
    """Any other error of the operating system."""


class StuckError(HostError):
    """A read did not come back before its deadline."""

    reason = Reason.STUCK


class ExhaustedError(HostError):
    """This process has no thread, descriptor or memory left to ask the device with. The device may be well."""

    reason = Reason.EXHAUSTED


class FormatError(HostError):
    """Text was read, but it is not what the attribute is documented to hold.

    Attributes:
        text: the offending text, shortened to a printable length.
        expected: what would have been right, in words.
    """

    reason = Reason.FORMAT

    def __init__(self, text: str, expected: str, *, path: str | None = None) -> None:
        self.text = shortened(text)
        self.expected = expected
        super().__init__(f"{self.text!r} is not {expected}", path=path)

    def at(self, path: str) -> Self:
        """The same error, naming the file that held the text."""
        return type(self)(self.text, self.expected, path=path)


class ImpossibleError(FormatError):
    """A number was read that is outside the possible range: see :mod:`npu_core.limits`."""

    reason = Reason.IMPOSSIBLE


class SensorFaultError(HostError):
    """The driver marks the sensor as faulty, so its value is not valid."""

    reason = Reason.FAULT


_BY_ERRNO: dict[int, type[HostError]] = {
    errno.EACCES: AccessDeniedError,
    errno.EPERM: AccessDeniedError,
    errno.ENOENT: MissingError,
    errno.ENOTDIR: MissingError,
    errno.ENODEV: GoneError,
    errno.ENXIO: GoneError,
    errno.EBUSY: BusyError,
    errno.EAGAIN: BusyError,
    errno.EMFILE: ExhaustedError,
    errno.ENFILE: ExhaustedError,
    errno.ENOMEM: ExhaustedError,
    errno.ENOBUFS: ExhaustedError,
}


def host_error(error: OSError, path: str) -> HostError:
    """The leaf of :class:`HostError` that says what ``error`` means for ``path``."""
    kind = _BY_ERRNO.get(error.errno or 0, ReadFailedError)
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return kind(f"{name} ({error.strerror or error})", path=path)


@dataclass(frozen=True, slots=True)
class Unreadable(Value):
    """A value that could not be read, as a value: two equal failures compare equal.

    Attributes:
        card: name of the card, ``npu0``.
        subject: what was to be read, in the words of the host: ``device_uuid``, ``npu0/temp1_input`` (chip and file).
        reason: why, as a closed set.
        detail: why, in words.
    """

    card: str
    subject: str
    reason: Reason
    detail: str

    @classmethod
    def of(cls, card: str, subject: str, error: HostError) -> Self:
        """``error`` as a value."""
        return cls(card, subject, error.reason, error.detail)

    def __str__(self) -> str:
        return f"{self.card} {self.subject}: {self.detail}"
