"""What the readers of the vendor's libraries printed, as records: a value to a value."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from npu_core.counters import Clock, PeCounters
from npu_core.partition import UnitId
from tests.oracle.compare import RngdCard, Sensors, Version, WarboyCard, WarboyFile, given

T = TypeVar("T")
Json = dict[str, Any]

_WARBOY_CORES = (0, 1)
_MICRO = 1_000_000
_MILLI = 1_000


def warboys_of_library(answer: object) -> dict[str, WarboyCard]:
    """What `readers/read_warboy.py` printed, by name of the card."""
    cards = cast("list[Json]", _without_errors(answer))
    return {card["name"]: _warboy_of_library(card) for card in cards}


def rngds_of_library(answer: object) -> dict[str, RngdCard]:
    """What `readers/read_rngd.py` printed, by name of the card."""
    host = cast("Json", _without_errors(answer))
    named = {_rngd_name(card, rank): card for rank, card in enumerate(host["cards"])}
    return {name: _rngd_of_library(name, card, _version(host["driver_version"])) for name, card in named.items()}


def _without_errors(answer: object) -> object:
    """The answer with None for everything that the library refused."""
    match answer:
        case {"error": str(), **rest} if not rest:
            return None
        case dict():
            return {key: _without_errors(value) for key, value in answer.items()}
        case list():
            return [_without_errors(value) for value in answer]
        case _:
            return answer


def _warboy_of_library(card: Json) -> WarboyCard:
    sensors: Json = card["sensors"] or {}
    return WarboyCard(
        name=card["name"],
        index=card["index"],
        arch=card["arch"],
        busname=card["busname"],
        pci_dev=card["pci_dev"],
        serial=card["serial"] or None,
        uuid=card["uuid"] or None,
        driver=card["driver_version"] or None,
        firmware=card["firmware_version"] or None,
        cores=given(tuple, card["cores"]),
        device_files=given(_library_files, card["device_files"]),
        alive=card["alive"],
        errors=card["atr_error"],
        uptime=card["heartbeat"],
        numa_node=_known_node(card["numa_node"]),
        clocks=given(_library_clocks, card["clock_frequency"]),
        currents=given(_library_sensors, sensors.get("current")),
        voltages=given(_library_sensors, sensors.get("voltage")),
        powers=given(_library_sensors, sensors.get("power")),
        temperatures=given(_library_sensors, sensors.get("temperature")),
        counters=given(_library_counters, card["performance_counters"]),
    )


def _library_files(files: list[Json]) -> tuple[WarboyFile, ...]:
    found = (WarboyFile(file["path"], file["mode"], _library_cores(file["cores"])) for file in files)
    return tuple(sorted(found, key=lambda file: file.path))


def _library_cores(ends: list[int] | None) -> tuple[int, ...]:
    """The cores between two ends; None is the library's word for the whole card."""
    return _WARBOY_CORES if ends is None else tuple(range(ends[0], ends[1] + 1))


def _library_clocks(clocks: list[Json]) -> tuple[Clock, ...]:
    return tuple(Clock(clock["name"], clock["value"], clock["unit"]) for clock in clocks)


def _library_sensors(sensors: list[Json]) -> Sensors:
    return tuple((sensor["label"], sensor["value"]) for sensor in sensors)


def _library_counters(counters: list[Json]) -> tuple[PeCounters, ...]:
    return tuple(
        PeCounters(
            UnitId.parse(counter["filename"]).cores,
            counter["cycle_count"],
            counter["task_execution_cycle"],
            counter["tensor_execution_cycle"],
        )
        for counter in counters
    )


def _known_node(node: int | None) -> int | None:
    """-1 is the kernel's way of saying that it does not know."""
    return None if node == -1 else node


def _rngd_name(card: Json, rank: int) -> str:
    """The card's name. One that refuses even its name has only a place in the list; its number is not its own."""
    if card["info"] is not None:
        return str(card["info"]["name"])
    if card["device_files"]:
        file = str(card["device_files"][0]["path"]).rpartition("/")[2]
        return UnitId.parse(file).card
    return f"card without a name, {rank}"


def _rngd_of_library(name: str, card: Json, driver: Version | None) -> RngdCard:
    info: Json = card["info"] or {}
    temperature: Json = card["temperature"] or {}
    occupancy = given(_library_occupancy, card["core_status"])
    return RngdCard(
        name=name,
        bdf=info.get("bdf"),
        serial=info.get("serial") or None,
        uuid=info.get("uuid") or None,
        dev=f"{info['major']}:{info['minor']}" if info else None,
        numa_node=_known_node(info.get("numa_node")),
        driver=driver,
        firmware=_version(info.get("firmware_version")),
        core_count=info.get("core_num"),
        device_files=given(_library_rngd_files, card["device_files"]),
        alive=card["liveness"],
        occupancy=occupancy,
        counters=_occupied_counters(card["performance_counters"], occupancy),
        core_megahertz=given(_by_core, card["core_frequency"]),
        performance_mode=given(str.lower, card["governor"]),
        throttle_reason=card["throttle_reason"],
        microwatts=_scaled(card["power"], _MICRO),
        peak_millidegrees=_scaled(temperature.get("soc_peak"), _MILLI),
        ambient_millidegrees=_scaled(temperature.get("ambient"), _MILLI),
    )


def _version(version: Json | None) -> Version | None:
    if version is None:
        return None
    return Version(version["major"], version["minor"], version["patch"], version["metadata"] or None)


def _library_rngd_files(files: list[Json]) -> dict[str, tuple[int, ...]]:
    return {file["path"]: tuple(file["cores"]) for file in files}


def _library_occupancy(statuses: Json) -> tuple[bool, ...]:
    assert set(statuses.values()) <= {"available", "occupied"}, statuses
    return tuple(status == "occupied" for status in _by_core(statuses))


def _by_core(values: Json) -> tuple[Any, ...]:
    """What the library keys by core, in the order of cores; they must be all from 0 on."""
    cores = sorted(int(core) for core in values)
    assert cores == list(range(len(cores))), f"cores {cores}"
    return tuple(values[str(core)] for core in cores)


def _occupied_counters(
    counters: list[Json] | None, occupancy: tuple[bool, ...] | None
) -> tuple[PeCounters, ...] | None:
    if counters is None or occupancy is None:
        return None
    return tuple(
        PeCounters(
            UnitId.parse(f"npu0pe{counter['core']}").cores,
            counter["cycle_count"],
            counter["task_execution_cycle"],
            tensor_cycles=None,
            bits=64,
        )
        for counter in counters
        if occupancy[counter["core"]]
    )


def _scaled(value: float | None, factor: int) -> int | None:
    """The driver's whole number that the library has divided."""
    return None if value is None else round(value * factor)
