import mmap
import os
import threading
from pathlib import Path

from footprint import footprint

_MIB = 1024


def test_memory_is_counted_in_kib_and_private_memory_is_part_of_what_is_resident() -> None:
    before = footprint(os.getpid())
    # Asked of the system: an allocator may have some left over of its own.
    with mmap.mmap(-1, 16 * _MIB * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(os.urandom(16) * (_MIB * 1024))
        after = footprint(os.getpid())
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
