import os
import subprocess
import sys
import threading
from pathlib import Path

from testkit.footprint import footprint

_MIB = 1024
_GROWING = f"""
print("ready", flush=True)
input()
block = bytearray(range(1, 17)) * {_MIB * 1024}
print(len(block), flush=True)
input()
"""


def test_memory_is_counted_in_kib_and_private_memory_is_part_of_what_is_resident() -> None:
    """Of a process that does nothing else: in this one, what other tests left behind works on."""
    with subprocess.Popen([sys.executable, "-c", _GROWING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        before = footprint(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) == 16 * _MIB * 1024
        after = footprint(process.pid)
        process.stdin.write(b"\n")
    assert 15 * _MIB < after.private - before.private < 20 * _MIB
    assert 15 * _MIB < after.dirty - before.dirty < 20 * _MIB
    assert after.dirty <= after.private <= after.pss <= after.rss


def test_threads_and_open_files_are_counted() -> None:
    before = footprint(os.getpid())
    going = threading.Event()
    thread = threading.Thread(target=going.wait)
    thread.start()
    with Path(os.devnull).open():
        during = footprint(os.getpid())
    going.set()
    thread.join()
    assert (during.threads - before.threads, during.files - before.files) == (1, 1)


def test_a_thread_that_waits_is_woken_and_one_that_works_spends_time() -> None:
    before = footprint(os.getpid())
    never = threading.Event()
    for _ in range(20):
        never.wait(0.001)
    while footprint(os.getpid()).precise_cpu < before.precise_cpu + 0.05:
        pass
    after = footprint(os.getpid())
    assert after.wakeups - before.wakeups >= 20
    assert after.precise_cpu - before.precise_cpu >= 0.05
