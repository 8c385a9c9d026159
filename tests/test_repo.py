"""Rules of this repository that no other tool checks."""

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    path.parent for path in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
)

MOST_LINES = 400
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")

# In pieces, so that this file does not hold what it looks for.
REGISTRIES = tuple(
    "".join(pieces)
    for pieces in (
        ("pypi", ".org"),
        ("python", "hosted"),
        ("debian", ".org"),
        ("ubuntu", ".com"),
        ("npmjs", "."),
        ("yarn", "pkg.com"),
        ("crates", ".io"),
        ("ruby", "gems.org"),
        ("proxy.golang", ".org"),
        ("ana", "conda.org"),
        ("conda-", "forge.org"),
    )
)
LOCKS = {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pylock.toml", "package-lock.json", "yarn.lock"}

_PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _files() -> list[Path]:
    """What is or would be committed, as far as it exists."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the repository cannot be told")
    command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if listed.returncode != 0:
        pytest.skip(f"git cannot list the repository's files: {listed.stderr.strip()}")
    return sorted(path for name in set(listed.stdout.split("\0")) if name and (path := ROOT / name).is_file())


def _texts(*endings: str) -> Iterator[tuple[str, str]]:
    """Name and text of the repository's files."""
    for path in _files():
        if not endings or path.suffix in endings:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8", errors="replace")


def test_no_module_is_longer_than_can_be_kept_in_mind() -> None:
    lengths = {
        name: text.count("\n")
        for name, text in _texts(".py", ".pyi")
        if name.startswith(("libs/", "services/")) and not GENERATED.search(name)
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    found = [(name, host) for name, text in _texts() for host in REGISTRIES if host in text.lower()]
    assert found == []


def test_no_lock_file_with_addresses_is_kept() -> None:
    assert [path.name for path in _files() if path.name in LOCKS] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements/*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_by_hash_and_has_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert " @ " not in text
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip() and not line.startswith("#")]
    wrong = [
        line
        for line in lines
        if not re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", line)
    ]
    assert lines
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_has_its_version_in_one_place(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert "version" not in project["project"]
    module = project["tool"]["flit"]["module"]["name"]
    assignments = [
        (path.relative_to(package / "src" / module).as_posix(), line)
        for path in package.glob(f"src/{module}/**/*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("__version__")
    ]
    assert [place for place, _ in assignments] == ["__init__.py"]
    assert re.fullmatch(r'__version__ = "\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?"', assignments[0][1])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_accepts_the_library_beside_it(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    init = (ROOT / "libs/npu-core/src/npu_core/__init__.py").read_text(encoding="utf-8")
    version = ast.literal_eval(init.partition("__version__ = ")[2].partition("\n")[0])
    wanted = [need for need in map(Requirement, project["dependencies"]) if need.name == "npu-core"]
    assert [need.specifier.contains(version) for need in wanted] == ([] if project["name"] == "npu-core" else [True])


def test_the_pythons_that_are_tested_are_those_of_the_workflow_and_of_the_packages() -> None:
    script = (ROOT / "scripts/test-pythons").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    tested = script.partition("${PYTHONS:-")[2].partition("}")[0].split()
    assert tested == workflow["jobs"]["pythons"]["strategy"]["matrix"]["python"]
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = [each.rpartition(" ")[2] for each in project["classifiers"] if each.startswith("Programming Language")]
        assert named[0] == project["requires-python"].removeprefix(">=") == tested[0]
        assert set(named) <= set(tested)


def _imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_tested_with_mocks() -> None:
    mocks = ("unittest.mock", "mock.", "pytest_mock")
    assert [name for name, text in _texts(".py") for module in _imported(text) if module.startswith(mocks)] == []


def test_the_examples_of_the_documents_can_be_compiled() -> None:
    for name, text in _texts(".md"):
        for example in _PYTHON.findall(text):
            compile(example, name, "exec")
