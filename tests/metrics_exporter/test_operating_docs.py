"""docs/configuration.md and docs/operations.md say what the code does: every option, every event, every metric."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from npu_core.config import reload
from npu_core.service import mounts, standard_error
from npu_core.service.http import server
from npu_core.service.options import Option, shown
from npu_metrics_exporter import app
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.families import POD_INFO, TABLE
from npu_metrics_exporter.metrics.self_metrics import PREFIX
from npu_metrics_exporter.metrics.self_metrics import TABLE as OWN
from npu_metrics_exporter.settings import OPTIONS

DOCS = Path(__file__).parents[2] / "docs"
LEVELS = {"info", "warning", "error", "exception"}
SHARED = (reload, standard_error, mounts, server)
"""Modules of the library that log for the exporter."""


def section(document: str) -> str:
    """What a document says of the exporter."""
    return (DOCS / document).read_text(encoding="utf-8").split("\n# The metrics exporter\n")[1].split("\n# ")[0]


def default(row: Option) -> str:
    if row.default in {None, ()}:
        return "none"
    return f"`{row.shown or shown(row.default)}`"


def test_every_option_is_documented_as_it_is() -> None:
    rows = [line for line in section("configuration.md").splitlines() if line.startswith("| `--")]
    assert rows == [
        f"| `--{row.name}` |"
        + (f" `{row.file_key}` |" if row.in_file else " |")
        + f" `{row.variable}` | {default(row)} |"
        + (" yes |" if row.live else " |")
        for row in OPTIONS
    ]


def test_every_key_of_the_file_is_explained() -> None:
    explained = re.findall(r"\*\*([a-zA-Z]+)\*\*", section("configuration.md"))
    assert sorted(explained) == sorted(row.file_key for row in OPTIONS if row.in_file)


def logged(path: str) -> Iterator[str]:
    """The events that a module logs, debugging left out: texts, and members of an enumeration."""
    source = Path(path)
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("_log"), attr=level), args=[event, *_]) if level in LEVELS:
                if isinstance(event, ast.Constant):
                    yield str(event.value)
                elif isinstance(event, ast.Attribute):
                    yield event.attr


def shared_events() -> set[str]:
    """What the modules of the library log."""
    found: set[str] = set()
    for module in SHARED:
        for name in logged(str(module.__file__)):
            enumeration = getattr(module, "SharedEvent", None)
            found.add(str(enumeration[name]) if enumeration is not None and name in enumeration.__members__ else name)
    return found


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    table = section("operations.md").split("## Log\n")[1].split("\n## ")[0]
    told = [
        event
        for line in table.splitlines()
        for event in re.findall(r"`([^`]+)`", line.partition("| ")[2].split(" | ")[0])
    ]
    assert sorted(told) == sorted(shared_events() | set(Event))


def test_every_event_is_logged() -> None:
    own = Path(str(app.__file__)).parent
    text = "".join(path.read_text(encoding="utf-8") for path in own.rglob("*.py"))
    assert {event.name for event in Event} - set(re.findall(r"Event\.([A-Z_]+)", text)) == set()
    assert [name for path in own.rglob("*.py") for name in logged(str(path)) if not name.isupper()] == []


def test_every_metric_of_the_operations_is_there() -> None:
    known = {family.sample for family in (*TABLE, POD_INFO)} | {PREFIX + own.sample for own in OWN}
    named = set(re.findall(r"\bfuriosa_npu_[a-z_]+[a-z]\b", section("operations.md") + section("configuration.md")))
    assert named - known == set()
