"""The commands of ``npuctl``: each looks at the host, has a view made of it, and prints that."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

import typer

from npu_core.cli import details, holding, info, load, processes, sheet, top, version
from npu_core.cli.answer import answer, complain, takes_control_sequences
from npu_core.cli.documents import Json
from npu_core.cli.host_scan import CardScan, HostScan, HostScanner, attempt, identify, notes, nothing_here, unidentified
from npu_core.cli.options import (
    AllOption,
    DevfsOption,
    Given,
    OutputOption,
    ProcfsOption,
    Session,
    SysfsOption,
    with_session,
)
from npu_core.cli.table import Table
from npu_core.errors import FormatError, HostError, Unreadable
from npu_core.holders import Holders, find_holders
from npu_core.parse.text import parse_number

T = TypeVar("T")

_MIN_INTERVAL, _MAX_INTERVAL = 0.1, 3600.0
_PARTLY = 3
"""Exit status when npuctl could not inspect every process of the host."""
_CLEAR_SCREEN = "\x1b[H\x1b[2J"

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def npuctl(
    context: typer.Context,
    output: OutputOption = None,
    sysfs: SysfsOption = None,
    devfs: DevfsOption = None,
    procfs: ProcfsOption = None,
) -> None:
    """Show the FuriosaAI NPUs of this machine.

    The options below may also follow the command.
    """
    context.obj = Given(output, sysfs, devfs, procfs)


@app.command(name="info")
@with_session
def show_info(
    session: Session,
    *,
    full: Annotated[bool, typer.Option("--full", help="Everything about every card.")] = False,
    everything: AllOption = False,
) -> None:
    """List the cards with temperature, power and address."""
    if full:
        _show_details(session, everything=everything)
        return
    found = _chosen(info.look(HostScanner(session.host())), everything=everything)
    _show(session, found, info.unreadable, info.document(found.cards), info.table(found.cards))


def _show_details(session: Session, *, everything: bool) -> None:
    host = session.host()
    found = _chosen(details.look(HostScanner(host)), everything=everything)
    machine = attempt(host.machine)
    document = [details.document(card, machine) for card in found.cards]
    blocks: list[Table | str] = [sheet.machine_line(machine)]
    for card in found.cards:
        blocks += ["", sheet.sheet(card)]
    _show(session, found, details.unreadable, document, *blocks)


@app.command(name="list")
@with_session
def show_list(session: Session, *, everything: AllOption = False) -> None:
    """List the device files, and which PEs are in use by whom."""
    found = _chosen(holding.look(HostScanner(session.host())), everything=everything)
    holders = _holders(session, found)
    document = holding.document(found.cards, holders)
    _show(session, found, holding.unreadable, document, holding.table(found.cards, holders))
    _end_of_processes(holders)


@app.command(name="ps")
@with_session
def show_processes(session: Session) -> None:
    """List the processes that hold device files."""
    found = identify(HostScanner(session.host()))
    holders = _holders(session, found)
    held = processes.holdings((card.device for card in found.cards), holders)
    table = processes.table(held) if held else processes.nobody(len(found.cards), complete=holders.complete)
    _show(session, found, unidentified, processes.document(held, holders), table)
    _end_of_processes(holders)


def _holders(session: Session, found: HostScan[T]) -> Holders:
    paths = frozenset(file.path for card in found.cards for file in card.device.files)
    return find_holders(paths, session.procfs)


def _end_of_processes(holders: Holders) -> None:
    """Say which processes could not be inspected; end with status 3 if a holder may be missing."""
    complain(processes.gap_notes(holders))
    if not holders.complete:
        raise typer.Exit(_PARTLY)


def _seconds(text: object) -> float:
    try:
        # typer also brings the default, which is a number.
        seconds = parse_number(str(text), "a number of seconds")
    except FormatError:
        seconds = 0.0
    # Not a range of typer's: that lets "nan" through.
    if not _MIN_INTERVAL <= seconds <= _MAX_INTERVAL:
        raise typer.BadParameter(f"{text!r} is not a number of seconds from {_MIN_INTERVAL:g} to {_MAX_INTERVAL:g}")
    return seconds


@app.command(name="top")
@with_session
def show_top(
    session: Session,
    *,
    interval: Annotated[
        float, typer.Option(parser=_seconds, metavar="SECONDS", help="Time to measure over, and between tables.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    everything: AllOption = False,
) -> None:
    """Show how busy the PEs are, until interrupted."""
    surveyor = HostScanner(session.host())

    def measured() -> HostScan[load.CardLoad]:
        return _chosen(load.measure(surveyor, interval, time.sleep), everything=everything)

    try:
        while _show_load(session, measured(), live=not once) and not once:
            pass
    except KeyboardInterrupt:
        return  # the ordinary way to end it


def _show_load(session: Session, found: HostScan[load.CardLoad], *, live: bool) -> bool:
    """Print one table; whether there is anything to look at again."""
    if live and session.is_for_people and takes_control_sequences(sys.stdout, os.environ):
        print(_CLEAR_SCREEN, end="")
    _show(session, found, load.unreadable, top.document(found.cards), top.table(found.cards), stream=live)
    return bool(found.cards)


@app.command(name="version")
@with_session
def show_version(session: Session) -> None:
    """Show the version of npu-core and of the drivers on this host."""
    found = attempt(lambda: identify(HostScanner(session.host())))
    if isinstance(found, HostError):
        answer(session.output, version.document(None), version.text(()))
        raise found
    drivers = version.drivers(card.device for card in found.cards)
    answer(session.output, version.document(drivers), version.text(drivers))
    complain(notes(found, unidentified))


def _chosen(found: HostScan[T], *, everything: bool) -> HostScan[T]:
    return found if everything else found.here()


def _show(
    session: Session,
    found: HostScan[T],
    unreadable: Callable[[CardScan[T]], Iterable[Unreadable]],
    document: Json,
    *blocks: Table | str,
    stream: bool = False,
) -> None:
    if found.cards:
        answer(session.output, document, *blocks, stream=stream)
    else:
        answer(session.output, document, nothing_here(found) or session.nothing_found, stream=stream)
    complain(notes(found, unreadable))
