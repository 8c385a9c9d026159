"""What every test of the library shares."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The examples run on whatever machine there is, so how long one takes says nothing about the code.
settings.register_profile("default", deadline=None, max_examples=50)
settings.load_profile("default")

_MEMORY = "/dev/shm"  # noqa: S108  # only as the parent of directories with names of their own


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory of the test's own, in memory where there is one: a host is some hundred small files."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="npu-test-", dir=parent) as directory:
        yield Path(directory)
