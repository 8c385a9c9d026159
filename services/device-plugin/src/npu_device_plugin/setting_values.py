"""The settings, one value at a time: what each may be, and what to say if it is not.

Every parser takes a :class:`~npu_core.service.settings.Given` and raises FormatError for one problem, or SettingsError
for several.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT
from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.partition import Partitioning, describe_partitionings
from npu_core.service.settings import Given, Kind, Reader, text_of
from npu_device_plugin.allocation import resource_name
from npu_device_plugin.allocation.disabled import EXPECTED as EXPECTED_DEVICE
from npu_device_plugin.allocation.disabled import EXPECTED_NODE, DisabledDevice, is_device_name, is_node_name
from npu_device_plugin.allocation.resource_name import ResourceNames

_KUBELETS_FILES = ("kubelet.sock", CHECKPOINT, "DEPRECATION")
"""What the kubelet keeps in the plugin directory. Our socket would take the place of a file of that name."""


def partitioning(given: Given) -> Partitioning:
    """``Fusion``, ``Single`` or a PE count; in YAML the count may be a number."""
    if given.kind not in {Kind.TEXT, Kind.STRING, Kind.NUMBER}:
        raise FormatError(given.text, describe_partitionings())
    return Partitioning.parse(given.text)


def file_name(given: Given) -> str:
    """The name of a file in the plugin directory."""
    name = text_of(given)
    if "/" in name or "\0" in name or name in {".", ".."}:
        raise FormatError(given.text, "a file name")
    if name in _KUBELETS_FILES:
        raise FormatError(given.text, f"a file name other than the kubelet's own ({', '.join(_KUBELETS_FILES)})")
    return name


def _resource_name(given: Given) -> str:
    name = text_of(given)
    if expected := resource_name.objection(name):
        raise FormatError(given.text, expected)
    return name


def resource_names(given: Given) -> ResourceNames:
    """One name for all, or a mapping of family to name."""
    if given.kind is not Kind.MAPPING:
        return ResourceNames(base=_resource_name(given))
    families = Reader(replace(value, key=key, name=value.key) for key, value in given.fields)
    names = [(arch, families.take(arch, _resource_name, "")) for arch in Arch]
    if problems := families.finish():
        raise SettingsError(problems)
    chosen = ResourceNames(of_family=tuple((arch, name) for arch, name in names if name))
    if chosen.clash:
        raise FormatError(given.text, "a different name for each family")
    return chosen


def disabled_devices(given: Given) -> tuple[DisabledDevice, ...]:
    """The entries of a comma list or of the file's list. Wrong entries are reported one by one."""
    match given.kind:
        case Kind.TEXT:
            entries = [replace(given, text=text.strip()) for text in given.text.split(",") if text.strip()]
            return _distinct(entries, lambda entry: DisabledDevice(_device_name(entry)))
        case Kind.LIST:
            return _distinct(given.items, _disabled_entry)
        case Kind.NOTHING:
            return ()
        case _:
            raise FormatError(given.text, "a list of devName and nodeName")


def _distinct(entries: Iterable[Given], parse: Callable[[Given], DisabledDevice]) -> tuple[DisabledDevice, ...]:
    devices: dict[DisabledDevice, None] = {}
    problems: list[Problem] = []
    for entry in entries:
        try:
            device = parse(entry)
        except FormatError as error:
            problems.append(entry.problem(error.expected))
        except SettingsError as error:
            problems.extend(error.problems)
        else:
            if device in devices:
                problems.append(replace(entry, text=device.name).problem("each device once"))
            devices[device] = None
    if problems:
        raise SettingsError(problems)
    return tuple(devices)


def _disabled_entry(given: Given) -> DisabledDevice:
    if given.kind is not Kind.MAPPING:
        raise FormatError(given.text, "an entry with devName and, if need be, nodeName")
    entry = Reader(value for _, value in given.fields)
    name = entry.take(f"{given.key}.devName", _device_name, "")
    node = entry.take(f"{given.key}.nodeName", _node_name, "")
    problems = list(entry.finish())
    if "devName" not in dict(given.fields):
        problems.append(
            Problem(f"{given.key}.devName", None, EXPECTED_DEVICE, given.source, given.line, ProblemCode.MISSING)
        )
    if problems:
        raise SettingsError(problems)
    return DisabledDevice(name, node or None)


def _node_name(given: Given) -> str:
    """The name of a node in lower case. Node names have no capital letters, and the kubelet lowers them too."""
    name = text_of(given).lower()
    if not is_node_name(name):
        raise FormatError(given.text, EXPECTED_NODE)
    return name


def _device_name(given: Given) -> str:
    name = text_of(given)
    if not is_device_name(name):
        raise FormatError(given.text, EXPECTED_DEVICE)
    return name
