"""npuctl as a fixture."""

import pytest

from tests.core.cli import program as programs
from tests.core.cli.program import Npuctl


@pytest.fixture
def npuctl() -> Npuctl:
    """Runs a command line on a host in this process: ``npuctl(host, "info", env={...})``."""
    return programs.npuctl


@pytest.fixture
def program() -> Npuctl:
    """Runs a command line on a host as a process of its own, its output in pipes."""
    return programs.npuctl_alone
