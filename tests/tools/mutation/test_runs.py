"""Whole runs over a small module of their own: what is noticed, what is not, and what is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import threading

LEAST = 1

def at_least(number: int) -> int:
    while True:
        break
    return max(number, LEAST)

def unasked(number: int) -> int:
    return number + 1

def on_a_thread() -> None:
    done = threading.Event()
    thread = threading.Thread(target=told, args=(done,), daemon=True)
    thread.start()
    done.wait()

def told(done: threading.Event) -> None:
    done.set()
"""

TESTS = """
from toy import at_least, on_a_thread

def test_numbers_stay_as_they_are() -> None:
    assert at_least(5) == 5

def test_what_a_thread_tells_arrives() -> None:
    on_a_thread()
"""

# In a process of its own: this one may have threads, and what is forked from it would be as it is.
PROGRAM = """
import sys
from pathlib import Path

from tools.mutation.child import Suite
from tools.mutation.run import UnfitTestsError, subject_of, verdicts
from tools.mutation.source import Source

root = Path(sys.argv[1])
path = root / "toy.py"
suite = Suite(root, Source("toy", path, path.read_text()), ("test_toy.py",))
try:
    for verdict in verdicts([subject_of(suite)], 2):
        print(verdict.fate, verdict.called, verdict.mutant.line, verdict.mutant.after, sep="|")
except UnfitTestsError as error:
    print(error)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "toy.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "test_toy.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    return tmp_path


def _run(root: Path) -> list[str]:
    command = [sys.executable, "-B", "-c", PROGRAM, str(root)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def test_what_a_test_notices_is_told_from_what_none_does(toy: Path) -> None:
    before = {path: path.read_bytes() for path in toy.iterdir()}
    assert set(_run(toy)) == {
        "survived|True|4|LEAST = 2",
        "survived|True|4|LEAST = 0",
        "survived|True|7|while False:",
        "endless|True|8|pass",
        "noticed|True|9|return None",
        "noticed|True|9|return min(number, LEAST)",
        "survived|False|12|return number - 1",
        "survived|False|12|return number + 2",
        "survived|False|12|return number + 0",
        "survived|False|12|return None",
        "endless|True|16|thread = threading.Thread(target=told, args=(), daemon=True)",
        "endless|True|16|thread = threading.Thread(target=told, daemon=True)",
        "endless|True|16|thread = threading.Thread(args=(done,), daemon=True)",
        "survived|True|16|thread = threading.Thread(target=told, args=(done,), daemon=False)",
        "survived|True|16|thread = threading.Thread(target=told, args=(done,))",
        "endless|True|17|pass",
        "survived|True|18|pass",
        "endless|True|21|pass",
    }
    assert {path: path.read_bytes() for path in toy.iterdir()} == before


def test_tests_that_fail_by_themselves_are_not_taken_for_good_ones(toy: Path) -> None:
    (toy / "test_toy.py").write_text("def test_nothing() -> None:\n    assert False\n", encoding="utf-8")
    said = _run(toy)
    assert said[0] == "toy: its tests fail by themselves"
    assert any(line.startswith("FAILED test_toy.py::test_nothing") for line in said)
