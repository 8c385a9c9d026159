"""One run of tests in a process of its own, forked from one that is warm."""

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tools.mutation.loading import Substitute
from tools.mutation.observation import Observation, Watch
from tools.mutation.source import Source

_MEMORY = 3 << 30
"""Bytes of address space: a mutant that never stops collecting is not to take the machine's."""

_BROKEN = 70
"""Exit status of a child that could not even start pytest."""

_ARGUMENTS = ("-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow")


def fork(run: Callable[[], int], output: Path) -> int:
    """Let a child leave with what ``run`` returns, in a process group of its own; its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = _BROKEN
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _redirect(output)
        status = run()
    except BaseException:  # noqa: BLE001  # whatever it is: this process ends here, and nobody else sees it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(output: Path) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, descriptor in enumerate((null, file, file)):
        os.dup2(descriptor, target)


@dataclass(frozen=True, slots=True)
class Suite:
    """A module and its tests.

    Attributes:
        root: directory of the repository.
        source: the module.
        files: of the tests, below the root.
    """

    root: Path
    source: Source
    files: tuple[str, ...]


def run_tests(suite: Suite, text: str, watch: Watch, result: Path) -> int:
    """Run a module's tests while it has this text; pytest's exit status, and in ``result`` what was seen.

    Most mutants are noticed in the first file that is tried, and then the others need not even be loaded.
    """
    name, path = suite.source.name, suite.source.path
    assert name not in sys.modules
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    sys.meta_path.insert(0, Substitute(name, path, text))
    os.chdir(suite.root)
    status = 0
    for files in (suite.files[:1], suite.files[1:]):
        if files and not status:
            status = pytest.main([*_ARGUMENTS, f"--rootdir={suite.root}", *files], plugins=[watch])
            if status == pytest.ExitCode.NO_TESTS_COLLECTED:  # none of these files' tests runs what is mutated
                status = 0
    result.write_text(json.dumps(asdict(watch.finish())), encoding="utf-8")
    return status


def observed(result: Path) -> Observation:
    """What the child wrote; nothing, if it was killed before."""
    return Observation(**json.loads(result.read_text(encoding="utf-8"))) if result.exists() else Observation()
