"""Every command in the documents is run here, or says by the mark after its fence what it would need.

=========  ========================================================================================================
mark       what is done with the block
=========  ========================================================================================================
(none)     run, on a simulated node with one Warboy card; what a ``console`` block shows is compared
serve      each command is started, and has to end well when it is told to
cluster    needs a cluster: read by a shell, its manifests and objects looked up, what it runs in our pods run here
node       needs a real node: read by a shell
make       verbs of the Makefile, which are looked up
install    installs packages: what it names has to be there
=========  ========================================================================================================

``/tmp`` and ``/etc/furiosa`` stand for directories of the test's own.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from npu_core.testing import FakeHost, warboy
from testkit.documents import PAGES, ROOT, Block, blocks
from testkit.services.configured import free_port
from testkit.waiting import PATIENCE

MARKS = {"", "serve", "cluster", "node", "make", "install"}
COMMANDS = [block for page in PAGES for block in blocks(page) if block.language in {"sh", "console"}]
FILES = {"device-plugin.conf": "pluginDir: {tmp}\n", "exporter.yaml": "interval: 5\n", "web.yaml": "{{}}\n"}
"""What /etc/furiosa holds for a service that is started."""
PROGRAMS = ("k8s-device-plugin", "npu-feature-discovery", "npu-metrics-exporter", "npuctl")


def _with(*marks: str) -> list[Block]:
    return [block for block in COMMANDS if block.mark in marks]


@dataclass(frozen=True)
class Step:
    """A command, and what a console shows after it."""

    command: str
    shown: str


def _steps(block: Block) -> list[Step]:
    if block.language == "sh":
        return [Step(block.text, "")]
    parts = re.split(r"(?m)^\$ ", block.text)
    assert not parts[0].strip(), f"{block} begins with something else than a command"
    return [Step(*part.partition("\n")[::2]) for part in parts[1:]]


class Node:
    """A simulated node, and a shell on it."""

    def __init__(self, root: Path) -> None:
        """Written below ``root``."""
        self.root = root
        host = FakeHost(root / "node", warboy(0))
        (root / "etc").mkdir()
        (root / "tmp").mkdir()
        programs = Path(sys.executable).parent
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NPU_", "PYTHON"))}
        self.environment = inherited | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "NPU_SYSFS": host.sysfs,
            "NPU_DEVFS": host.devfs,
            "NPU_PROCFS": host.procfs,
            "NPU_PLUGIN_DIR": str(root / "tmp"),
            "NPU_POD_RESOURCES_SOCKET": str(root / "tmp/pods.sock"),
            "NPU_OUTPUT_FILE": str(root / "tmp/features"),
            "NODE_NAME": "warboy-node01",
        }

    def here(self, text: str) -> str:
        """With the directories of this node."""
        text = re.sub(r"(?<![\w/])/tmp/", f"{self.root}/tmp/", text)  # noqa: S108  # the documents' own
        return text.replace("/etc/furiosa/", f"{self.root}/etc/")

    def environment_beside_a_file(self) -> dict[str, str]:
        """Without the variables that ``--config-file`` excludes."""
        return {
            name: value
            for name, value in self.environment.items()
            if not name.startswith("NPU_") or name in {"NPU_SYSFS", "NPU_DEVFS"}
        }

    def run(self, command: str, extra: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """In a shell that gives up at the first failure."""
        shell = ["bash", "-euo", "pipefail", "-c", self.here(command)]
        environment = self.environment_beside_a_file() if "--config-file" in command else self.environment
        return subprocess.run(
            shell,
            env=environment | (extra or {}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """One Warboy card."""
    return Node(tmp_path)


def _is_shown(printed: str, shown: str) -> bool:
    """Whether a console may show this: ``...`` on a line of its own, or ``…`` in one, leaves something out."""
    pattern = re.escape(shown.strip()).replace(r"\.\.\.", ".*").replace("…", ".*")
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def test_every_command_is_run_or_says_what_it_needs() -> None:
    assert [str(block) for block in COMMANDS if block.mark not in MARKS] == []
    assert len(_with("")) > 8
    assert len(_with("cluster")) > 30


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_a_shell_can_read_it(block: Block) -> None:
    for step in _steps(block):
        shell = ["bash", "-n", "-c", step.command]
        read = subprocess.run(shell, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("block", _with(""), ids=str)
def test_a_command_does_what_the_document_shows(block: Block, node: Node) -> None:
    (node.root / "etc/device-plugin.conf").write_text(
        "interval: ten\ndisabledDevices:\n- devName: npu1\n  nodeName: a\n\n\n- devName: bogus\n"
        if "'ten'" in block.text
        else "interval: 10\n"
    )
    for step in _steps(block):
        done = node.run(step.command)
        said = done.stdout + (done.stderr if block.language == "console" and done.returncode else "")
        fails = " is '" in step.shown
        assert (done.returncode != 0) == fails, f"{step.command}: {done.stderr}"
        if block.language == "console":
            assert _is_shown(said, node.here(step.shown)), f"{step.command}:\n{said}"


@pytest.mark.parametrize("block", _with("serve"), ids=str)
def test_a_service_starts_and_ends_as_it_is_told(block: Block, node: Node) -> None:
    for line in block.text.splitlines():
        words = shlex.split(node.here(line), comments=True)
        if words[0] == "python":
            words[0] = sys.executable
        config = "--config-file" in words
        for name, text in FILES.items():
            (node.root / "etc" / name).write_text(text.format(tmp=node.environment["NPU_PLUGIN_DIR"]), encoding="utf-8")
        environment = node.environment_beside_a_file() if config else node.environment
        environment["NPU_LISTEN_ADDRESS"] = f"127.0.0.1:{free_port()}"
        with subprocess.Popen(
            words, env=environment, cwd=node.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as service:
            assert service.stdout is not None
            first = service.stdout.readline()
            service.send_signal(signal.SIGTERM)
            rest, _ = service.communicate(timeout=PATIENCE)
            assert first, line
            assert (
                service.returncode in {0, -signal.SIGTERM} if words[0] == sys.executable else not service.returncode
            ), first + rest


# -- what needs a cluster -------------------------------------------------------------------------------------------


def _objects() -> set[str]:
    """``kind/name`` of everything in the manifests, in small letters."""
    found = set()
    for path in [*ROOT.glob("deployments/*.yaml"), *ROOT.glob("deployments/nfd/*.yaml")]:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            found.add(f"{document['kind']}/{document['metadata']['name']}".lower())
    return found


_APPLIED = re.compile(r"(?:-f|-k|kustomize) (deployments/\S+)")
_OBJECT = re.compile(
    r"\b(daemonset|configmap)[/ ]((?:-n kube-system )?)((?:furiosa|npu)[\w-]*(?: (?:furiosa|npu)[\w-]*)*)"
)
_IN_A_POD = re.compile(r"-- /usr/bin/(\S+) (.*)")


@pytest.mark.parametrize("block", _with("cluster"), ids=str)
def test_manifests_and_objects_that_commands_name_exist(block: Block) -> None:
    applied = [ROOT / path for path in _APPLIED.findall(block.text)]
    assert [str(path) for path in applied if not path.exists()] == []
    assert [str(path) for path in applied if path.is_dir() and not (path / "kustomization.yaml").is_file()] == []
    named = {f"{kind}/{name}" for kind, _, names in _OBJECT.findall(block.text) for name in names.split()}
    assert named - _objects() == set()


def _settings_in_the_pod(parts: list[dict[str, Any]], program: str) -> dict[str, str]:
    """The variables that the manifest gives the program, but for where its host is."""
    (container,) = (
        container
        for part in parts
        if part["kind"] == "DaemonSet"
        for container in part["spec"]["template"]["spec"]["containers"]
        if container["command"] == [f"/usr/bin/{program}"]
    )
    here = {"NPU_SYSFS", "NPU_DEVFS"}
    return {
        entry["name"]: entry["value"] for entry in container["env"] if "value" in entry and entry["name"] not in here
    }


@pytest.mark.parametrize("block", [block for block in _with("cluster") if _IN_A_POD.search(block.text)], ids=str)
def test_what_is_run_in_our_pods_works_on_a_simulated_node(block: Block, node: Node) -> None:
    manifests = [path.read_text(encoding="utf-8") for path in ROOT.glob("deployments/*.yaml")]
    parts = [part for manifest in manifests for part in yaml.safe_load_all(manifest)]
    config = next(part for part in parts if part["kind"] == "ConfigMap")
    (node.root / "etc/config.yaml").write_text(config["data"]["config.yaml"], encoding="utf-8")
    for program, arguments in _IN_A_POD.findall(block.text):
        assert program in PROGRAMS
        done = node.run(f"{program} {arguments}", _settings_in_the_pod(parts, program))
        assert done.returncode == 0, done.stderr
        assert done.stdout or "--remove" in arguments


# -- what is only looked up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _with("make"), ids=str)
def test_verbs_are_in_the_makefile(block: Block) -> None:
    verbs = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    lines = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    assert [words for words in lines if words and words[0] == "make" and words[1] not in verbs] == []
    assert {words[0] for words in lines if words} <= {"make", "git", "cd"}


@pytest.mark.parametrize("block", _with("install"), ids=str)
def test_packages_and_extras_that_are_installed_exist(block: Block) -> None:
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["pip", "install"]
        place, _, extra = words[2].rstrip("]").partition("[")
        project = tomllib.loads((ROOT / place / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert not extra or extra in project["optional-dependencies"]


_INSTALLS = re.compile(r"pip3? install ((?:-{1,2}\S+ )*)(\S+)")


def test_pip_is_never_told_a_name_that_it_would_look_up_in_an_index() -> None:
    """This project publishes in no index, so a package of that name could be anybody's."""
    told = [
        (path.relative_to(ROOT).as_posix(), found[2].strip("'\"`"))
        for place in ("*.md", "docs/**/*.md", "libs/*/*.md", "services/*/*.md", "deployments/**/*.md")
        for path in ROOT.glob(place)
        for found in _INSTALLS.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(told) > 4
    assert [each for each in told if not each[1].startswith("./")] == []
