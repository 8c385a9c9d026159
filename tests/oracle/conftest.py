"""When the oracle tests run: on request, and where their libraries can.

`NPU_ORACLE=yes` runs what this machine can run and skips the rest; with `NPU_ORACLE=required`, a missing requirement
fails. Without it they are skipped, so that the default suite needs neither privilege nor the libraries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.oracle.compare import Card, RngdCard, WarboyCard
from tests.oracle.families import RNGD, WARBOY, Family
from tests.oracle.namespace import missing_requirement

SWITCH = "NPU_ORACLE"
MEMORY = Path("/dev/shm")  # noqa: S108  below it, a directory of a name nobody can guess is made


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("oracle") is None:
        return
    match os.environ.get(SWITCH):
        case None | "":
            pytest.skip(f"run by make test-oracle, or with {SWITCH}=yes")
        case "yes" | "required":
            demand(missing_privilege())
        case other:
            pytest.fail(f"{SWITCH} is {other!r}, expected yes or required", pytrace=False)


@pytest.fixture
def warboys() -> Family[WarboyCard]:
    """Warboy cards, where their library is installed."""
    demand(missing_library(WARBOY))
    return WARBOY


@pytest.fixture
def rngds() -> Family[RngdCard]:
    """RNGD cards, where their library is installed."""
    demand(missing_library(RNGD))
    return RNGD


@pytest.fixture(params=[WARBOY, RNGD], ids=["warboy", "rngd"])
def family(request: pytest.FixtureRequest) -> Family[Card]:
    """Each family in turn."""
    chosen: Family[Card] = request.param
    demand(missing_library(chosen))
    return chosen


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where a host may be written: in memory if the machine has such a place, as it is thousands of tiny files."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(prefix="npu-oracle-", dir=MEMORY) as path:
        yield Path(path)


def demand(missing: str | None) -> None:
    """Skip the test, or fail it where the requirement must be met."""
    if missing is None:
        return
    if os.environ[SWITCH] == "required":
        pytest.fail(f"{SWITCH}=required, but {missing}", pytrace=False)
    pytest.skip(missing)


@cache
def missing_privilege() -> str | None:
    return missing_requirement()


def missing_library(family: Family[Card]) -> str | None:
    if (family.environment / ".ready").exists():
        return None
    return f"{family.environment.name} is missing: run scripts/oracle-setup"
