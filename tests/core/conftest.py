"""What every test of the library shares."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The examples run on whatever machine there is, so how long one takes says nothing about the code.
settings.register_profile("default", deadline=None, max_examples=50)
settings.load_profile("default")

Eventually = Callable[[Callable[[], bool]], None]

_MEMORY = "/dev/shm"  # noqa: S108  # only as the parent of directories with names of their own
_DEADLINE = 15.0
_BETWEEN_LOOKS = 0.005


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory of the test's own, in memory where there is one: a host is some hundred small files."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="npu-test-", dir=parent) as directory:
        yield Path(directory)


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition holds, and fail if it does not within a deadline."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DEADLINE
        pause = threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"did not come true within {_DEADLINE:g} s")
            pause.wait(_BETWEEN_LOOKS)

    return wait
