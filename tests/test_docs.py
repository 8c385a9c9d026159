"""Documents lead where they say, speak of what there is, and say the same in both languages."""

import re
import subprocess
import sys

import pytest

from npu_core.service.events import SharedEvent
from npu_device_plugin.events import Event as PluginEvent
from npu_feature_discovery.events import Event as DiscoveryEvent
from npu_metrics_exporter.events import Event as ExporterEvent
from testkit.documents import PAGES, ROOT, anchors, blocks, links, prose, text_of

LANGUAGES = {"", "sh", "console", "yaml", "python", "pycon", "promql", "json", "mermaid"}
KOREAN = sorted(page for page in PAGES if page.startswith("docs/ko/"))
SERVICES = ("npu_device_plugin", "npu_feature_discovery", "npu_metrics_exporter")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_to_a_file_and_to_a_heading_of_it(page: str) -> None:
    broken = [
        f"{path}#{anchor}" if anchor else path
        for path, anchor in links(page)
        if not (ROOT / path).exists() or (anchor and anchor not in anchors(path))
    ]
    assert broken == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        for path, _ in links(waiting.pop()):
            if path in PAGES and path not in reached:
                reached.add(path)
                waiting.append(path)
    assert [page for page in PAGES if page.startswith("docs/") and page not in reached] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_says_in_which_language_it_is(page: str) -> None:
    assert [str(block) for block in blocks(page) if block.language not in LANGUAGES] == []


# -- both languages -------------------------------------------------------------------------------------------------


def _commands(page: str) -> list[tuple[str, str, str]]:
    """The commands of a page, without their comments."""
    return [
        (block.language, block.mark, re.sub(r"(?m)(^|\s+)# .*$", "", block.text))
        for block in blocks(page)
        if block.language in {"sh", "console"}
    ]


def _outline(page: str) -> tuple[list[str], int]:
    """The levels of the headings, and how many rows all tables have."""
    text = prose(page)
    return [line.split()[0] for line in re.findall(r"(?m)^#+ .*$", text)], len(re.findall(r"(?m)^ *\|", text))


@pytest.mark.parametrize("page", [page for page in KOREAN if (ROOT / page.replace("docs/ko/", "docs/")).is_file()])
def test_a_page_in_korean_has_the_commands_the_sections_and_the_tables_of_the_english_one(page: str) -> None:
    english = page.replace("docs/ko/", "docs/")
    assert _commands(page) == _commands(english)
    assert _outline(page) == _outline(english)


# -- what documents name --------------------------------------------------------------------------------------------


def test_the_list_of_public_names_is_what_the_docstrings_give() -> None:
    command = [sys.executable, str(ROOT / "scripts/library_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _words_of_the_sources() -> str:
    places = (path for service in SERVICES for path in ROOT.glob(f"services/*/src/{service}/**/*.py"))
    shared = (ROOT / "libs/npu-core/src/npu_core").rglob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in (*places, *shared))


def _events() -> set[str]:
    """The events that docs/operations.md explains: what is in backquotes in the first column below ``event``."""
    found: set[str] = set()
    in_table = False
    for line in prose("docs/operations.md").splitlines():
        first = line.split("|")[1] if line.startswith("|") else ""
        in_table = line.startswith("| event |") or (in_table and line.startswith("|"))
        found.update(re.findall(r"`([^`]+)`", first) if in_table else ())
    return found


def test_every_event_that_operators_are_told_of_is_one_of_the_services() -> None:
    known = {*map(str, (*SharedEvent, *PluginEvent, *DiscoveryEvent, *ExporterEvent))}
    assert _events() - known == set()
    assert len(_events()) > 50


@pytest.mark.parametrize("service", ["npu_device_plugin", "npu_feature_discovery"])
def test_every_metric_that_operators_are_told_of_is_one_of_that_service(service: str) -> None:
    [path] = ROOT.glob(f"services/*/src/{service}/metrics.py")
    source, table = path.read_text(encoding="utf-8"), text_of("docs/operations.md").split(f"| `{service}_…` |")[1]
    names = re.findall(r"`([^`]+)`", " ".join(line.split("|")[1] for line in table.split("\n\n")[0].splitlines()[2:]))
    assert len(names) > 5
    assert [name for name in names if not re.search(rf'["}}]{name.removesuffix("_total")}(_total)?"', source)] == []


def test_troubleshooting_names_events_as_they_are_logged() -> None:
    """What looks like an event there, a sentence in small letters, is one, or is the words of something else."""
    quoted = set(re.findall(r"`([a-z][a-z ,']+ [a-z ,']+)`", prose("docs/troubleshooting.md")))
    others = {
        "no healthy devices present",
        "requested number of devices unavailable",
        "previously allocated devices are no longer healthy",
        "hostPath type check failed",
        "kubectl describe",
        "kubectl describe pod",
        "kubectl rollout restart",
        "npuctl list",
        "npuctl ps",
    }
    assert quoted - others - _events() == set()


_VARIABLE = re.compile(r"\bNPU_[A-Z][A-Z_]+\b")
OF_CONTAINERS = {"NPU_DEVNAME", "NPU_NPUNAME", "NPU_PENAME"}
OF_OURSELVES = {
    "NPU_ORACLE",
    "NPU_PROMETHEUS",
    "NPU_CI",
    "NPU_IMAGES",
    "NPU_MANIFESTS",
    "NPU_E2E",
    "NPU_PE",
    "NPU_CLUSTER",
    "NPU_CLUSTER_HOME",
    "NPU_TEST_PATIENCE",
}


def test_every_variable_that_documents_name_is_read_by_a_program() -> None:
    table = text_of("docs/configuration.md") + text_of("docs/npuctl.md")
    sources = _words_of_the_sources()
    named = {name for page in PAGES for name in _VARIABLE.findall(text_of(page))}
    unknown = {
        name
        for name in named - OF_CONTAINERS - OF_OURSELVES
        if name not in sources and f'"{name.removeprefix("NPU_").lower()}"' not in sources and name not in table
    }
    assert unknown == set()


_VERB = re.compile(r"`make ([a-z][a-z0-9-]*)")


def test_every_verb_that_documents_name_is_one_of_make() -> None:
    verbs = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):.*## ", text_of("Makefile")))
    named = {(page, verb) for page in PAGES for verb in _VERB.findall(text_of(page))}
    assert {entry for entry in named if entry[1] not in verbs} == set()
    assert len(named) > 5


def test_the_list_of_verbs_for_contributors_has_every_verb_of_make() -> None:
    verbs = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):.*## ", text_of("Makefile")))
    rows = re.findall(r"(?m)^\| (`make .*?`) \|", text_of("CONTRIBUTING.md"))
    listed = {word for row in rows for command in re.findall(r"`make ([^`]+)`", row) for word in command.split()}
    assert verbs - listed == set()
