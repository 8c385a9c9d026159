"""What every test may rely on, and which of them take long."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SLOW = frozenset(
    {
        "test_churn.py",
        "test_containerd_away.py",
        "test_exporter_cards.py",
        "test_exporter_pods.py",
        "test_exporter_reload.py",
        "test_exporter_soak.py",
        "test_exporter_stuck.py",
        "test_fault_schedule.py",
        "test_manifests.py",
        "test_manifests_code.py",
        "test_manifests_running.py",
        "test_repartitioning.py",
        "test_runs.py",
        "test_scale_page.py",
        "test_scale_page_kubelet.py",
        "test_soak_short.py",
    }
)
"""Modules that wait for real time, again and again: ``make test-slow``, so that ``make test`` is quick."""


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and a path that leads to the directory whatever becomes of its name, as a mount does."""
    directory = tmp_path / "pinned"
    directory.mkdir()
    descriptor = os.open(directory, os.O_PATH)
    yield directory, f"/proc/{os.getpid()}/fd/{descriptor}"
    os.close(descriptor)


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A directory with a name short enough for sockets in it, which tmp_path's is not."""
    path = Path(tempfile.mkdtemp(prefix="s-"))
    yield path
    shutil.rmtree(path)


def pytest_configure() -> None:
    """Let SIGINT and SIGHUP reach the programs that tests start.

    A shell has the first ignored in what it runs in the background, nohup the second, and programs inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module of which nothing would be run: each worker would."""
    slow = {"slow": True, "not slow": False}.get(config.option.markexpr)
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    return True if slow is not None and is_test and (collection_path.name in SLOW) is not slow else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones: whole modules, because the others are not looked into."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            raise pytest.UsageError(f"{item.nodeid} is marked as slow: name its module in SLOW of tests/conftest.py")
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
