"""What other people's tooling imports: the names, their documentation, and what importing costs."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import npu_core
import npu_core.testing
from npu_core.testing import FakeHost, rngd, warboy

SOURCE = Path(npu_core.__file__).parents[1]
DEADLINE = 60.0

HEAVY = frozenset(
    {
        "argparse", "asyncio", "concurrent", "email", "http", "json", "logging", "multiprocessing", "pathlib", "queue",
        "random", "select", "socket", "ssl", "subprocess", "tempfile", "threading", "traceback", "unittest", "urllib",
        "xml",
    }
)  # fmt: skip
"""Parts of the standard library that the library has no use for, dear in time or memory."""

THIRD_PARTY = frozenset(
    {"click", "google", "grpc", "kubernetes", "prometheus_client", "pydantic", "rich", "typer", "uvloop", "yaml"}
)


def _spelled_out() -> dict[str, str]:
    """Name to module, as the imports for type checkers have it."""
    tree = ast.parse(Path(npu_core.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _constants_classes_functions(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _documented_things(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The public classes and functions of a module, and the public members the classes define."""
    for name in module.__all__:
        value = getattr(module, name)
        if name.isupper() or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield name, value
        members = vars(value).items() if inspect.isclass(value) else ()
        for member, content in members:
            is_code = isinstance(content, (property, staticmethod, classmethod)) or inspect.isfunction(content)
            if is_code and not member.startswith("_"):
                yield f"{name}.{member}", content


def test_the_three_lists_of_public_names_agree() -> None:
    homes = {name: f"npu_core.{part}" for name, part in npu_core._HOME.items()}
    assert _spelled_out() == homes
    assert set(npu_core.__all__) == {*homes, "__version__"}
    assert sum(len(names.split()) for names in npu_core._PARTS.values()) == len(homes)


@pytest.mark.parametrize("module", [npu_core, npu_core.testing], ids=lambda module: module.__name__)
def test_public_names_are_listed_once_and_in_order(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__), key=_constants_classes_functions)


@pytest.mark.parametrize("name", npu_core.__all__)
def test_a_public_name_is_what_its_part_defines(name: str) -> None:
    value = getattr(npu_core, name)
    home = npu_core._HOME.get(name)
    if home is not None:
        assert value is getattr(sys.modules[f"npu_core.{home}"], name)
        assert getattr(value, "__module__", f"npu_core.{home}") == f"npu_core.{home}"


def test_the_library_shows_its_public_names_and_no_others() -> None:
    assert dir(npu_core) == sorted(npu_core.__all__)
    missing = "no_such_name"
    with pytest.raises(AttributeError, match="module 'npu_core' has no attribute 'no_such_name'"):
        getattr(npu_core, missing)


@pytest.mark.parametrize("module", [npu_core, npu_core.testing], ids=lambda module: module.__name__)
def test_everything_public_is_documented(module: ModuleType) -> None:
    assert module.__doc__
    bare = [
        name
        for name, value in _documented_things(module)
        # A dataclass without a docstring is given its own signature for one.
        if not (inspect.getdoc(value) or "").strip() or (inspect.getdoc(value) or "").startswith(f"{name}(")
    ]
    assert bare == []


def test_the_tour_of_the_library_works_as_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (npu_core.__doc__ or "").splitlines()
    tour = inspect.cleandoc("\n".join(line for line in lines if line.startswith("    ")))
    host = FakeHost(tmp_path, warboy(0), rngd(0)).open()
    code = tour.replace("host = Host()", "")
    assert code != tour
    exec(compile(code, "tour", "exec"), {"host": host})  # noqa: S102  # the library's own documentation
    printed = capsys.readouterr().out
    assert "npu0pe0-1 ['/dev/npu0_mgmt'," in printed
    assert "PEAK" in printed
    assert "°C" in printed


# -- a machine with nothing but Python ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """A virtual environment without any package, and the library's sources on its path."""

    python: Path
    cache: Path

    def run(self, code: str) -> str:
        """What the code prints, in a fresh process."""
        environment = {"PYTHONPATH": str(SOURCE), "PYTHONPYCACHEPREFIX": str(self.cache)}
        command = [str(self.python), "-s", "-P", "-c", code]
        return subprocess.run(
            command, env=environment, cwd=self.cache, capture_output=True, text=True, timeout=DEADLINE, check=True
        ).stdout

    def modules(self, code: str) -> frozenset[str]:
        """The modules that are loaded when the code has run."""
        return frozenset(self.run(f"import sys\n{code}\nprint(*sys.modules)").split())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    root = tmp_path_factory.mktemp("bare")
    make = [sys.executable, "-m", "venv", "--without-pip", str(root / "venv")]
    subprocess.run(make, capture_output=True, timeout=DEADLINE, check=True)
    environment = Bare(root / "venv/bin/python", root / "cache")
    environment.cache.mkdir()
    environment.run("import npu_core.testing\nfrom npu_core import *")  # compiles what is measured later
    return environment


def top_level(modules: frozenset[str]) -> frozenset[str]:
    return frozenset(module.partition(".")[0] for module in modules)


@pytest.mark.parametrize("code", ["from npu_core import *", "import npu_core.testing"])
def test_the_standard_library_is_all_it_takes(bare: Bare, code: str) -> None:
    loaded = top_level(bare.modules(code))
    assert loaded - set(sys.stdlib_module_names) <= {"npu_core", "__main__", "sitecustomize"}
    assert not loaded & THIRD_PARTY


def test_the_library_finds_cards_on_a_machine_with_nothing_but_python(bare: Bare, tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), rngd(0))
    code = f"""
from npu_core import FUSION, Host, units_of
host = Host({host.sysfs!r}, {host.devfs!r})
print(*(unit.id for device in host.inventory().devices for unit in units_of(device, FUSION)))
"""
    assert bare.run(code) == "npu0pe0-1 npu0pe0-7\n"


def test_importing_the_library_loads_none_of_its_parts(bare: Bare) -> None:
    loaded = bare.modules("import npu_core")
    assert {module for module in loaded if module.startswith("npu_core")} == {"npu_core"}
    assert not loaded & {"dataclasses", "inspect"}
    assert not top_level(loaded) & HEAVY


def test_using_everything_loads_nothing_dear(bare: Bare) -> None:
    loaded = bare.modules("from npu_core import *")
    # The reader of many cards has threads and futures, which bring the logging of the standard library.
    assert not top_level(loaded) & (HEAVY - {"concurrent", "logging", "queue", "threading", "traceback"})
    assert not {
        module for module in loaded if module.startswith(("npu_core.cli", "npu_core.kubelet", "npu_core.testing"))
    }
