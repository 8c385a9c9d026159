"""Which runs may bring a real node up, and what becomes of tests where none can be."""

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from tools.cluster.programs import missing

SWITCH = "NPU_CLUSTER"


def check(item: pytest.Item, missing_too: Callable[[], str | None] | None = None) -> None:
    """Skip a test that needs a real node, or let the test fail, if there is none to be had.

    The marker ``cluster(services=False)`` says that a test does without the project's images.

    Args:
        item: the test.
        missing_too: says what else is missing for such a node; None if nothing is.
    """
    marker = item.get_closest_marker("cluster")
    if marker is None:
        return
    # `make test` does not start a node, because a start takes about a minute.
    reason: str | None = "only make test-cluster brings up a real node"
    if "cluster" in item.config.option.markexpr:
        reason = missing(**marker.kwargs) or (missing_too() if missing_too else None)
    if reason is not None:
        demand(reason)


def demand(reason: str) -> NoReturn:
    """Skip the test because something is missing, or let the test fail where nothing may be."""
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{SWITCH}=required, but {reason}", pytrace=False)
    pytest.skip(reason)
