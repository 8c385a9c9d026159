"""docs/configuration.md and docs/operations.md say what the code does: every option, every event, every metric."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from npu_core.config import reload
from npu_core.service import mounts, standard_error
from npu_core.service.http import server
from npu_core.service.settings import environment_name
from npu_metrics_exporter import app
from npu_metrics_exporter.families import POD_INFO, TABLE
from npu_metrics_exporter.own_metrics import TABLE as OWN
from npu_metrics_exporter.settings import LIVE, OPTIONS, WISHES, Settings, file_key

DOCS = Path(__file__).parents[2] / "docs"
LEVELS = {"info", "warning", "error", "exception"}


def section(document: str) -> str:
    """What a document says of the exporter."""
    return (DOCS / document).read_text(encoding="utf-8").split("\n# The metrics exporter\n")[1].split("\n# ")[0]


def default(option: str) -> str:
    value = getattr(Settings(), option.replace("-", "_"))
    if value in {None, ()}:
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def test_every_option_is_documented_as_it_is() -> None:
    rows = [line for line in section("configuration.md").splitlines() if line.startswith("| `--")]
    assert rows == [
        f"| `--{option}` |"
        + (f" `{file_key(option)}` |" if option in WISHES else " |")
        + f" `{environment_name(option)}` | {default(option)} |"
        + (" yes |" if option.replace("-", "_") in LIVE else " |")
        for option in OPTIONS
    ]


def test_every_key_of_the_file_is_explained() -> None:
    explained = re.findall(r"\*\*([a-zA-Z]+)\*\*", section("configuration.md"))
    assert sorted(explained) == sorted(map(file_key, WISHES))


def events() -> Iterator[str]:
    """What the exporter's modules, and those of the library that it works with, say to the log."""
    for path in [
        *Path(app.__file__).parent.glob("*.py"),
        *(Path(str(each.__file__)) for each in (reload, standard_error, mounts, server)),
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("_log"), attr=level), args=[ast.Constant(str(event)), *_]
                ):
                    assert level in LEVELS | {"debug"}
                    if level in LEVELS:
                        yield event
                case ast.Call(func=ast.Attribute(attr="_tell"), args=[_, _, ast.Constant(str(event))]):
                    yield event


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    table = section("operations.md").split("## Log\n")[1].split("\n## ")[0]
    told = [
        event
        for line in table.splitlines()
        for event in re.findall(r"`([^`]+)`", line.partition("| ")[2].split(" | ")[0])
    ]
    assert sorted(told) == sorted(set(events()))


def test_every_metric_of_the_operations_is_there() -> None:
    known = {family.sample for family in (*TABLE, POD_INFO)} | {own.full_name for own in OWN}
    named = set(re.findall(r"\bfuriosa_npu_[a-z_]+[a-z]\b", section("operations.md") + section("configuration.md")))
    assert named - known == set()
