"""What the program says, word by word: its help, its events, and what it says of wrong settings and wrong requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperOption

from npu_core.arch import Arch
from npu_core.errors import Reason, Unreadable
from npu_core.partition import FUSION, SINGLE
from npu_device_plugin.allocation.disabled import UnknownDevice
from npu_device_plugin.allocation.repartition import cut_of
from npu_device_plugin.allocation.resource_name import objection
from npu_device_plugin.allocation.resource_state import KeptId, Offer
from npu_device_plugin.check import CheckReport, ClosedFile, as_text
from npu_device_plugin.cli import app
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.registration import Registration
from npu_device_plugin.kubelet.supervisor import Loss
from npu_device_plugin.program import PROGRAM
from testkit.golden import compare
from tests.device_plugin.cards import warboy_card
from tests.device_plugin.configs import problems, write
from tests.device_plugin.test_resource_name import REFUSED
from tests.device_plugin.test_settings_problems import (
    EVERYTHING_WRONG,
    WRONG_FILES,
    WRONG_LINES,
    WRONG_OPTIONS,
    WRONG_PARTS,
)

GOLDEN = Path(__file__).parents[1] / "golden/k8s-device-plugin.txt"


def test_the_program_says_what_is_written_down(tmp_path: Path) -> None:
    sections = {
        "help": _help(typer.main.get_command(app(PROGRAM))),
        "events": (f"{event.name}: {event}" for event in Event),
        "losses of a registration": (f"{loss.name}: {loss}" for loss in Loss),
        "wrong lines of a file": _lines(tmp_path),
        "wrong files": _files(tmp_path),
        "wrong options": _options(),
        "options together": _together(tmp_path),
        "names that cannot be registered": _objections(),
        "check": as_text(_finding()).splitlines(),
    }
    text = "\n".join(f"## {title}\n\n" + "".join(f"{line}\n" for line in lines) for title, lines in sections.items())
    compare(GOLDEN, text.replace(str(tmp_path), "/etc"))


def _help(command: Any) -> Iterator[str]:  # noqa: ANN401  # typer's own kind of command, which has no public name
    """The words alone: their layout is that of the library for command lines."""
    yield command.help or ""
    for option in command.params:
        if isinstance(option, TyperOption):
            yield " ".join(filter(None, (*option.opts, option.metavar))) + f": {option.help}"
    for each in getattr(command, "commands", {}).values():
        yield f"\n### {each.name}\n"
        yield from _help(each)


def _said(path: str, environment: dict[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in problems({"config-file": path}, environment or {})]


def _lines(directory: Path) -> Iterator[str]:
    lines = [f"{key}: {text}" for key, texts in WRONG_LINES.items() for text in texts]
    for line in (*lines, *(line for line, _, _ in WRONG_PARTS), EVERYTHING_WRONG, "interval: 1\ninterval: 2"):
        yield from _said(write(directory, line))
    yield from _said(write(directory, "disabledDevices: [{devName: npu1, nodeName: a}]"))


def _files(directory: Path) -> Iterator[str]:
    for content, _, _ in WRONG_FILES:
        yield from _said(write(directory, content))
    for place in ("none.conf", ".", "device-plugin.conf/x", "/dev/zero"):
        yield from _said(str(directory / place))
    yield from _said(write(directory, "a: 1\n" * 200_000))
    yield from _said(write(directory, "#" * (1 << 20 | 1)))


def _options() -> Iterator[str]:
    for option, text in WRONG_OPTIONS:
        yield from map(str, problems({option: text}, {}))


def _together(directory: Path) -> Iterator[str]:
    path = write(directory, "{}")
    yield from map(str, problems({"config-file": path, "interval": "5"}, {"NPU_DEFAULT_PE": "Single"}))
    yield from map(str, problems({"interval": "5"}, {"NPU_CONFIG_FILE": path}))
    yield from map(str, problems({"disabled-devices": "npu1,gpu2,npu1"}, {}))
    yield from map(str, problems({"plugin-dir": "/" + "d" * 94}, {}))


def _objections() -> Iterator[str | None]:
    for name in REFUSED:
        yield f"{name!r}: expected {objection(name)}"
    for registration in (
        Registration("/p", "s", f"a.ai/{'n' * 64}"),
        Registration("/p", "s" * 105, "a.ai/npu"),
    ):
        yield registration.objection


def _finding() -> CheckReport:
    """One of everything that ``check`` can find beside units."""
    card = warboy_card(0)
    held = frozenset({FUSION.core_ranges(card.spec)[0]})
    return CheckReport(
        resources=(("beta.furiosa.ai/npu", Offer(Arch.WARBOY, kept=(KeptId("npu9pe0-1", 0), KeptId("a\x1b[31m\nb")))),),
        refused=((Arch.RENEGADE, "the reason"),),
        unknown=(UnknownDevice("disabledDevices[0]", "npu9", "one of npu0"),),
        pending=tuple((card, cut_of(card.spec, FUSION, SINGLE, each)) for each in (held, None)),
        rejected=(),
        unreadable=(Unreadable("npu0", "device_sn", Reason.IO, "EIO (Input/output error)"),),
        awaited=((card, ("npu0ch0", "npu0ch1")),),
        unmapped=(("beta.furiosa.ai/npu", "slot-7"),),
        checkpoint="the reason",
        closed=(ClosedFile("/dev/npu0pe0", 0o660),),
    )
