"""Which processes hold device files open."""

import errno
import os
from pathlib import Path

import pytest

from npu_core.errors import MissingError, StuckError
from npu_core.holders import Holder, Holders, find_holders
from npu_core.testing import EACCES, EIO, FakeHost, Fault, FaultyFS, failing, warboy
from tests.core.hung import Hung

PE0, PE1, FUSED = "/dev/npu0pe0", "/dev/npu0pe1", "/dev/npu0pe0-1"
FILES = frozenset({PE0, PE1, FUSED, "/dev/npu0ch0"})


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    machine = FakeHost(tmp_path, warboy(0))
    machine.run_process(7, ["python", "-m", "serve"], [PE0, "/dev/npu0ch0", "/dev/null"])
    machine.run_process(12, ["/usr/bin/bench", "--all"], [PE1])
    machine.run_process(120, ["sleep", "1"], ["/dev/null", "/tmp/npu0pe0", "socket:[12345]"])  # noqa: S108
    return machine


def look(host: FakeHost, fs: FaultyFS | None = None, paths: frozenset[str] = FILES) -> Holders:
    return find_holders(paths, host.procfs, fs)


def test_processes_are_found_with_what_they_hold(host: FakeHost) -> None:
    assert look(host) == Holders(
        (Holder(7, "python -m serve", ("/dev/npu0ch0", PE0)), Holder(12, "/usr/bin/bench --all", (PE1,)))
    )


def test_the_holders_of_a_file_come_in_order_and_once_even_if_it_was_deleted(host: FakeHost) -> None:
    assert look(host).of(FUSED) == ()
    host.run_process(1000, ["twice"], [FUSED, FUSED])
    host.run_process(101, ["old"], [f"{FUSED} (deleted)"])
    host.run_process(99, ["bench"], [FUSED, "/dev/null"])
    assert look(host).of(FUSED) == tuple(
        Holder(pid, name, (FUSED,)) for pid, name in ((99, "bench"), (101, "old"), (1000, "twice"))
    )


def test_nobody_holds_what_nobody_asks_for(host: FakeHost) -> None:
    assert look(host, paths=frozenset()) == Holders()


@pytest.mark.parametrize("pattern", ["*/12/fd", "*/12/fd/*"], ids=["not listed", "listed, not shown"])
def test_a_process_that_may_not_be_looked_into_is_counted(host: FakeHost, pattern: str) -> None:
    fs = FaultyFS()
    fs.put(pattern, EACCES)
    found = look(host, fs)
    assert [holder.pid for holder in found.holders] == [7]
    assert found.hidden == 1


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESRCH, errno.EINVAL], ids=errno.errorcode.get)
@pytest.mark.parametrize("pattern", ["*/12/fd", "*/12/fd/*", "*/12/*"])
def test_a_process_that_ends_meanwhile_is_left_out(host: FakeHost, pattern: str, code: int) -> None:
    fs = FaultyFS()
    fs.put(pattern, failing(code))
    fs.put("*/12", failing(errno.ENOENT))
    found = look(host, fs)
    assert ([holder.pid for holder in found.holders], found.hidden) == ([7], 0)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
def test_a_process_that_is_there_and_cannot_be_looked_into_may_hold_anything(host: FakeHost, code: int) -> None:
    fs = FaultyFS()
    fs.put("*/12/fd", failing(code))
    found = look(host, fs)
    assert (found.hidden, found.complete) == (1, False)


def test_a_holder_that_hangs_is_shown_by_its_name_and_others_as_ever(host: FakeHost) -> None:
    fs = FaultyFS()
    with Hung() as hung:
        fs.put("*/7/cmdline", hung)
        found = find_holders(FILES, host.procfs, fs, wait=hung.wait)
    assert found.holders == (
        Holder(7, "[python]", ("/dev/npu0ch0", PE0), hung=True),
        Holder(12, "/usr/bin/bench --all", (PE1,)),
    )
    assert found.complete


def test_several_processes_may_hang_and_each_is_named(host: FakeHost) -> None:
    fs = FaultyFS()
    with Hung() as hung:
        for pid in (500, 501):
            host.run_process(pid, ["stuck", str(pid)], [FUSED])
            fs.put(f"*/{pid}/fd", hung)
        found = find_holders(FILES, host.procfs, fs, wait=hung.wait)
    assert [holder.pid for holder in found.holders] == [7, 12]
    assert found.silent == tuple(Holder(pid, "[stuck]", (), hung=True) for pid in (500, 501))
    assert not found.complete


def test_a_process_directory_that_hangs_is_an_error(host: FakeHost) -> None:
    fs, hung = FaultyFS(), Hung()
    fs.put(host.procfs, hung)
    with hung, pytest.raises(StuckError) as caught:
        find_holders(FILES, host.procfs, fs, wait=hung.wait)
    assert caught.value.path == host.procfs


def test_the_processes_of_one_container_are_not_those_of_the_host(host: FakeHost) -> None:
    assert look(host).complete
    host.show_processes_of([12])
    found = look(host)
    assert "PID namespace" in found.partial
    assert ([holder.pid for holder in found.holders], found.complete) == ([12], False)


def test_a_second_process_is_not_taken_for_the_kernels(host: FakeHost) -> None:
    host.show_processes_of([])
    host.run_process(2, ["kthreadd) S 0 0 0 0 -1 2129984"], [])
    assert "PID namespace" in look(host).partial


@pytest.mark.parametrize("fault", [failing(errno.ENOENT), EACCES], ids=["invisible", "noaccess"])
def test_processes_that_are_hidden_from_other_users_may_hold_anything(host: FakeHost, fault: Fault) -> None:
    fs = FaultyFS()
    for pid in (1, 2):
        fs.put(f"*/{pid}/stat", fault)
    found = look(host, fs)
    assert "hidepid" in found.partial
    assert not found.complete


def test_a_process_that_hides_its_command_is_called_by_its_name_and_is_still_a_holder(host: FakeHost) -> None:
    (host.root / "proc/12/cmdline").write_text("", encoding="utf-8")
    assert look(host).of(PE1)[0].command == "[bench]"
    fs = FaultyFS()
    fs.put("*/cmdline", EACCES)
    fs.put("*/comm", EIO)
    assert [(holder.pid, holder.command) for holder in look(host, fs).holders] == [(7, ""), (12, "")]


def test_what_is_no_process_is_left_alone(host: FakeHost) -> None:
    for name in ("self", "meminfo", "1a"):
        (host.root / "proc" / name / "fd").mkdir(parents=True)
        (host.root / "proc" / name / "fd/3").symlink_to(FUSED)
    assert look(host).of(FUSED) == ()


def test_processes_that_cannot_be_listed_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        find_holders(FILES, str(tmp_path / "nowhere"))


def test_this_process_holds_the_files_it_has_open(tmp_path: Path) -> None:
    path = tmp_path / "npu0pe0"
    path.touch()
    with path.open(encoding="utf-8"):
        (holder,) = find_holders(frozenset({str(path)})).holders
    assert (holder.pid, holder.paths) == (os.getpid(), (str(path),))
    assert "python" in holder.command
    assert find_holders(frozenset({str(path)})).holders == ()
