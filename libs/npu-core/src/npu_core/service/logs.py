"""Logs that people can read and machines can count: a constant event, and fields.

::

    _log = EventLog(__name__)
    _log.warning("card became unhealthy", card="npu0", reason="the driver reports the card as dead")

as text::

    2026-03-01T12:00:00.000Z WARNING card became unhealthy card=npu0 reason="the driver reports the card as dead"

The event's words never change with its values, so they can be searched for and counted; docs/operations.md lists
them.

Values may come from anybody: the host, an API server, a client. So a line has only characters that can be seen (others
are escaped as JSON does), and each part of a line is bounded, and with that the line.
"""

import json
import logging
import re
import sys
import time
from enum import StrEnum
from typing import TextIO

from npu_core.printable import shortened, shortened_inside

MAX_VALUE = 500
"""Characters of one value, before what is not printable is escaped. A longer value ends with its length."""
MAX_EVENT = 1000
"""Characters of an event. Our own events are short; other libraries' messages may hold anything."""
MAX_EXCEPTION = 8000
"""Characters of a traceback. A longer one lacks its middle: the last lines name the error."""
_FIELDS = "npu_fields"
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class EventLog:
    """A logger whose lines are an event and its fields."""

    def __init__(self, name: str) -> None:
        """A logger called ``name``; the module's, as a rule."""
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Something for whoever looks into a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """The program did or saw something that belongs to its work."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something an operator should know of; the program goes on as well as it can."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something an operator has to mend."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, error: BaseException, **fields: object) -> None:
        """Something that should not have happened, with where it did."""
        self._logger.error("%s", event, exc_info=error, extra={_FIELDS: fields})

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={_FIELDS: fields})


def without_numbers(text: str) -> str:
    """The text with every number replaced by ``#``: equal for two reasons that differ in a count or a time only.

    For services that log a reason once, and again when the reason is another one.
    """
    return _NUMBER.sub("#", text)


def configure(level: LogLevel, form: LogFormat, stream: TextIO | None = None) -> None:
    """Send every log line of the process to ``stream`` (standard error), once, in one form."""
    # No line of ours says where in the code it was written; to find out costs a third of writing it.
    logging._srcfile = None  # noqa: SLF001  # type: ignore[attr-defined]  # as logging's own documentation has it
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form is LogFormat.JSON else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _event(record: logging.LogRecord) -> str:
    return shortened(record.getMessage(), MAX_EVENT)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {key: _bounded(value) for key, value in getattr(record, _FIELDS, {}).items()}
    if record.exc_info:
        fields["exception"] = shortened_inside(logging.Formatter().formatException(record.exc_info), MAX_EXCEPTION)
    return fields


def _bounded(value: object) -> object:
    """The value; a text in its place if the value as text is too long."""
    text = str(value)
    return value if len(text) <= MAX_VALUE else shortened(text, MAX_VALUE)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = (f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        return " ".join((_timestamp(record), record.levelname, _one_line(_event(record)), *fields))


def _one_line(event: str) -> str:
    # Our own events are; other libraries' messages may hold anything.
    return event if event.isprintable() else _json(event)


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else _json(text)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            **_fields(record),
        }
        return _json(line)


def _json(value: object) -> str:
    """The value as JSON of visible characters; those beyond ASCII stay where they are visible."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if text.isprintable():
        return text
    # What is not printable is inside of strings.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
