"""How a process ends whose threads are at work."""

import subprocess
import sys

import pytest

from testkit.waiting import PATIENCE

AT_WORK = """
import atexit, sys, threading
import bcrypt
from npu_core.service.lifetime import leave

hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
started = threading.Event()

def work():
    while True:
        bcrypt.checkpw(b"wrong", hashed)
        started.set()

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
started.wait()
atexit.register(print, "last words")
print("words without a line's end", end=" ")
"""


@pytest.mark.parametrize("status", [0, 3])
def test_threads_inside_a_compiled_library_do_not_change_how_a_process_ends(status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{AT_WORK}leave({status})"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (status, "")
    assert ended.stdout == "words without a line's end last words\n"


def test_an_output_that_cannot_be_written_is_told_by_the_status() -> None:
    command = f"exec {sys.executable} -c 'import npu_core.service.lifetime as it; print(1); it.leave(0)' >/dev/full"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ended.returncode
    assert "OSError" in ended.stderr
