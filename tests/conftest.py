"""What every test may rely on, and which of them take long."""

import signal

import pytest

SLOW = frozenset(
    {
        "test_api_sinks.py",
        "test_api_sinks_failures.py",
        "test_discovery_api.py",
        "test_discovery_ending.py",
        "test_discovery_labels.py",
        "test_exporter_cards.py",
        "test_exporter_pods.py",
        "test_exporter_process.py",
        "test_exporter_reload.py",
        "test_exporter_soak.py",
        "test_exporter_stuck.py",
        "test_exporter_web.py",
        "test_fault_schedule.py",
        "test_manifests.py",
        "test_manifests_code.py",
        "test_manifests_running.py",
        "test_repartitioning.py",
        "test_scale_page_kubelet.py",
        "test_soak_short.py",
    }
)
"""Modules that wait for real time, again and again: ``make test-slow``, so that ``make test`` is quick."""


def pytest_configure() -> None:
    """Let SIGINT and SIGHUP reach the programs that tests start.

    A shell has the first ignored in what it runs in the background, nohup the second, and programs inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones."""
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
