"""What every test of the device plugin shares."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The examples run on whatever machine there is, so how long one takes says nothing about the code.
settings.register_profile("default", deadline=None, max_examples=50)
settings.load_profile("default")


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A directory with a name short enough for sockets in it, which tmp_path's is not."""
    path = Path(tempfile.mkdtemp(prefix="s-"))
    yield path
    shutil.rmtree(path)
