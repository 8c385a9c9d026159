"""What npuctl says, word by word: its help, and what it says of wrong command lines and of hosts with faults."""

import re
from collections.abc import Iterator
from pathlib import Path

from npu_core.arch import Arch
from npu_core.cli import processes
from npu_core.errors import ReadFailedError, StuckError
from npu_core.health import Vitals, judge
from npu_core.holders import Holder, Holders
from npu_core.sensors import Quantity
from npu_core.testing import FakeHost, rngd, second_entry, warboy
from testkit.golden import compare
from tests.core.cli.program import npuctl

GOLDEN = Path(__file__).with_name("npuctl.txt")
COMMANDS = ("info", "list", "ps", "top", "version")
WRONG = ["inform", "info --wrong", "info -o xml", "top --interval", "top --once --interval 0", "top --interval soon"]


def test_npuctl_says_what_is_written_down(tmp_path: Path) -> None:
    sections = [*_helps(), *_refusals(), *_hosts(tmp_path), _notes()]
    compare(GOLDEN, "\n".join(sections).replace(str(tmp_path), "/host"))


def _helps() -> Iterator[str]:
    for command in ("", *COMMANDS):
        answer = npuctl(None, *command.split(), "--help", env={"COLUMNS": "100", "TERM": "dumb"})
        assert answer.returncode == 0
        yield _section(f"npuctl {command} --help", answer.stdout)
    assert npuctl(None, "info", "-h").returncode == 0


def _refusals() -> Iterator[str]:
    for line in WRONG:
        answer = npuctl(None, *line.split(), env={"COLUMNS": "100", "TERM": "dumb"})
        assert (answer.returncode, answer.stdout) == (2, "")
        yield _section(f"npuctl {line}", answer.stderr)


def _hosts(tmp_path: Path) -> Iterator[str]:
    """What is said on standard error, or of nothing, on hosts with faults."""
    faulty = FakeHost(tmp_path / "faulty", warboy(0), second_entry(warboy(0), 1), warboy(2), warboy(3), rngd(0))
    faulty.card(Arch.WARBOY, 0).set_attribute("dev", "garbage")
    faulty.card(Arch.WARBOY, 0).set_sensor(Quantity.TEMPERATURE, 2, "garbage")
    faulty.card(Arch.WARBOY, 2).set_attribute("platform_type", "VITIS")
    faulty.card(Arch.WARBOY, 3).set_attribute("device_type", "U250")
    faulty.card(Arch.RENEGADE, 0).remove_files()
    bare = FakeHost(tmp_path / "bare", warboy(0))
    bare.card(Arch.WARBOY, 0).remove_files()
    idle = FakeHost(tmp_path / "idle", warboy(0))
    container = FakeHost(tmp_path / "container", warboy(0))
    container.show_processes_of([])
    for title, host, line in (
        ("faults", faulty, "info"),
        ("faults, every card", faulty, "info --all"),
        ("no device files", bare, "info"),
        ("no cards", FakeHost(tmp_path / "none"), "info"),
        ("no processes", idle, "ps"),
        ("a container", container, "ps"),
        ("no such directory", idle, "info --sysfs /nowhere"),
    ):
        answer = npuctl(host, *line.split())
        said = "".join(part for part in (answer.stdout, answer.stderr) if not part.startswith("+"))
        yield _section(f"npuctl {line}: {title}", f"{said}status {answer.returncode}\n")


def _notes() -> str:
    hung = Holder(7, "[serve]", ("/dev/npu0",), hung=True)
    notes = [
        processes.nobody(1, complete=False),
        *processes.gap_notes(Holders((hung,), hidden=2, silent=(hung,))),
        *(
            reason
            for look in (
                Vitals(present=False, alive=None),
                Vitals(present=True, alive=False, missing_files=("npu0pe0",)),
                Vitals(present=True, alive=ReadFailedError("EIO")),
                Vitals(present=True, alive=StuckError("no answer")),
            )
            for reason in judge(look).reasons
        ),
    ]
    return _section("notes", "\n".join(notes))


def _section(title: str, text: str) -> str:
    # The width of the terminal and the borders are those of the library for command lines.
    return f"## {title}\n\n{re.sub(r'[ ]+$', '', text, flags=re.MULTILINE).strip()}\n"
