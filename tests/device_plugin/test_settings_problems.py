"""What is said of wrong settings: one line for each, with key, value, what was expected, and where it stands."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_core.service.given_files import MAX_SIZE
from npu_device_plugin.settings import load
from tests.device_plugin.configs import messages, write

NOBODY = 65534
SECONDS = "a number of seconds from 0.1 to 86400"
POLICIES = "Fusion, Single or a PE count (1, 2, 4)"
DEVICE = "a card (npu1), a unit (npu0pe0), a UUID or a PCI address (0000:6d:00.0)"
NODE = "the name of a node: at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends"
ENTRIES = "a list of devName and nodeName"
ENTRY = "an entry with devName and, if need be, nodeName"
ENTRY_KEYS = "one of the keys disabledDevices[0].devName, disabledDevices[0].nodeName"
KEYS = (
    "one of the keys cdiDir, defaultPe, deviceInjection, disabledDevices, interval, listenAddress, pluginDir, "
    "podResourcesSocket, resourceName, socketName"
)
EVERY_KEY = KEYS.removeprefix("one of the keys ").split(", ")
RIGHT = {
    "cdiDir": "/cdi",
    "defaultPe": "Single",
    "deviceInjection": "both",
    "disabledDevices": "[]",
    "interval": "5",
    "listenAddress": "off",
    "pluginDir": "/plugins",
    "podResourcesSocket": "/pods.sock",
    "resourceName": "a.ai/npu",
    "socketName": "npu",
}
"""A right value for every key."""
INJECTIONS = "one of files, cdi, both"
ADDRESS = "HOST:PORT, :PORT with a port from 1 to 65535, or off"
DOMAIN = "a lower-case DNS domain of at most 244 characters before the slash"
SOCKET_PATH = "a socket path (plugin-dir/socket-name) of at most 107 bytes"
KUBELETS = "a file name other than the kubelet's own (kubelet.sock, kubelet_internal_checkpoint, DEPRECATION)"


def cut(line: str) -> str:
    """The line with each long quoted text as a message shows it."""
    return re.sub(r"'([^']{80})[^']+'", r"'\1…'", line)


def file_messages(directory: Path, content: str | bytes, environment: dict[str, str] | None = None) -> list[str]:
    """What is said of a configuration file, without its path."""
    path = write(directory, content)
    lines = messages({"config-file": path}, environment or {})
    assert all(line.startswith(path) for line in lines)
    return [line.removeprefix(path) for line in lines]


# -- one key, one wrong value -----------------------------------------------------------------------------------------

WRONG_TYPES = [
    ("interval: true", "interval is 'true'", f"{SECONDS}, not true or false"),
    ("interval:", "interval is ''", f"{SECONDS}, not nothing"),
    ('interval: "10"', "interval is '10'", f"{SECONDS}, not a string"),
    ("interval: [10]", "interval is 'a list of 1'", f"{SECONDS}, not a list"),
    ("interval: {a: 1}", "interval is 'a mapping'", f"{SECONDS}, not a mapping"),
    ("defaultPe: true", "defaultPe is 'true'", POLICIES),
    ("defaultPe: null", "defaultPe is 'null'", POLICIES),
    ("defaultPe: 1.5", "defaultPe is '1.5'", POLICIES),
    ("defaultPe: [Fusion]", "defaultPe is 'a list of 1'", POLICIES),
    ("defaultPe: {a: 1}", "defaultPe is 'a mapping'", POLICIES),
    ("disabledDevices: npu1", "disabledDevices is 'npu1'", ENTRIES),
    ("disabledDevices: 1", "disabledDevices is '1'", ENTRIES),
    ("disabledDevices: no", "disabledDevices is 'no'", ENTRIES),
    ("disabledDevices: {devName: npu1}", "disabledDevices is 'a mapping'", ENTRIES),
    ("disabledDevices: [npu1]", "disabledDevices[0] is 'npu1'", ENTRY),
    ("disabledDevices: [[npu1]]", "disabledDevices[0] is 'a list of 1'", ENTRY),
    ("disabledDevices: [~]", "disabledDevices[0] is '~'", ENTRY),
    ("disabledDevices: [{devName: 1}]", "disabledDevices[0].devName is '1'", DEVICE),
    ("disabledDevices: [{devName: [npu1]}]", "disabledDevices[0].devName is 'a list of 1'", "a text, not a list"),
    ("disabledDevices: [{devName: npu1, nodeName: ~}]", "disabledDevices[0].nodeName is '~'", "a text, not nothing"),
    ("disabledDevices: [{}]", "disabledDevices[0].devName is missing", DEVICE),
    *(
        (f"{key}: {text}", f"{key} is '{shown}'", f"a text, not {kind}")
        for key in ("pluginDir", "socketName", "resourceName", "cdiDir", "podResourcesSocket")
        for text, shown, kind in (
            ("", "", "nothing"),
            ("null", "null", "nothing"),
            ("[/a]", "a list of 1", "a list"),
        )
    ),
    *(
        (f"{key}: {text}", f"{key} is '{shown}'", f"a text, not {kind}")
        for key in ("deviceInjection", "listenAddress")
        for text, shown, kind in (
            ("", "", "nothing"),
            ("[a]", "a list of 1", "a list"),
            ("{a: b}", "a mapping", "a mapping"),
        )
    ),
    ("cdiDir: {a: /b}", "cdiDir is 'a mapping'", "a text, not a mapping"),
    ("podResourcesSocket: {a: /b}", "podResourcesSocket is 'a mapping'", "a text, not a mapping"),
    ("pluginDir: {a: /b}", "pluginDir is 'a mapping'", "a text, not a mapping"),
    ("socketName: {a: b}", "socketName is 'a mapping'", "a text, not a mapping"),
    ("resourceName: {warboy: 1}", "resourceName.warboy is '1'", "a name with a domain, such as beta.furiosa.ai/npu"),
    ("resourceName: {warboy: {a: b}}", "resourceName.warboy is 'a mapping'", "a text, not a mapping"),
]

WRONG_VALUES = [
    *(
        (f"disabledDevices: [{{devName: npu1, nodeName: {name!r}}}]", f"disabledDevices[0].nodeName is {name!r}", NODE)
        for name in ("npu_1", "npu-001/", "npu-001.", "-npu", "a..b", "Größe", "a b", "a" * 254)
    ),
    ("pluginDir: 12", "pluginDir is '12'", "an absolute path"),
    ("cdiDir: false", "cdiDir is 'false'", "an absolute path"),
    ("interval: 0", "interval is '0'", SECONDS),
    ("interval: -1", "interval is '-1'", SECONDS),
    ("interval: 86401", "interval is '86401'", SECONDS),
    ("interval: .inf", "interval is '.inf'", SECONDS),
    ("interval: .nan", "interval is '.nan'", SECONDS),
    ("interval: 0x10", "interval is '0x10'", SECONDS),
    ("interval: 10s", "interval is '10s'", f"{SECONDS}, not a string"),
    ("defaultPe: pe0-1", "defaultPe is 'pe0-1'", POLICIES),
    ("defaultPe: 3", "defaultPe is '3'", POLICIES),
    ('defaultPe: ""', "defaultPe is ''", POLICIES),
    ("pluginDir: device-plugins", "pluginDir is 'device-plugins'", "an absolute path"),
    ('pluginDir: " "', "pluginDir is ' '", "a text that is not empty"),
    ("socketName: a/b", "socketName is 'a/b'", "a file name"),
    ("socketName: ..", "socketName is '..'", "a file name"),
    ('socketName: "a\\0b"', "socketName is 'a\\x00b'", "a file name"),
    ("socketName: kubelet.sock", "socketName is 'kubelet.sock'", KUBELETS),
    ("socketName: kubelet_internal_checkpoint", "socketName is 'kubelet_internal_checkpoint'", KUBELETS),
    ("socketName: DEPRECATION", "socketName is 'DEPRECATION'", KUBELETS),
    ("resourceName: npu", "resourceName is 'npu'", "a name with a domain, such as beta.furiosa.ai/npu"),
    ("resourceName: a.kubernetes.io/npu", "resourceName is 'a.kubernetes.io/npu'", "a domain other than kubernetes.io"),
    (
        "resourceName: requests.furiosa.ai/npu",
        "resourceName is 'requests.furiosa.ai/npu'",
        "a name that does not start with 'requests.'",
    ),
    ("resourceName: Furiosa.ai/npu", "resourceName is 'Furiosa.ai/npu'", DOMAIN),
    (
        "resourceName: furiosa.ai/npu!",
        "resourceName is 'furiosa.ai/npu!'",
        "at most 63 letters, digits, '-', '_' or '.' after the slash, the ends alphanumeric",
    ),
    (
        "resourceName: {gpu: a.ai/npu}",
        "resourceName.gpu is 'a.ai/npu'",
        "one of the keys renegade, warboy",
    ),
    (
        "resourceName: {warboy: a.ai/x, renegade: a.ai/x}",
        "resourceName is 'a mapping'",
        "a different name for each family",
    ),
    (
        "resourceName: {warboy: npu}",
        "resourceName.warboy is 'npu'",
        "a name with a domain, such as beta.furiosa.ai/npu",
    ),
    *(
        (f"disabledDevices: [{{devName: {name}}}]", f"disabledDevices[0].devName is '{name}'", DEVICE)
        for name in ("npu", "npu01", "npu256", "npu1pe1-0", "NPU1", "warboy", "/dev/npu1", "6d:00.0", "0000-aaaa")
    ),
    ('disabledDevices: [{devName: ""}]', "disabledDevices[0].devName is ''", "a text that is not empty"),
    (
        'disabledDevices: [{devName: npu1, nodeName: ""}]',
        "disabledDevices[0].nodeName is ''",
        "a text that is not empty",
    ),
    (
        "disabledDevices: [{devName: npu1, nodename: x}]",
        "disabledDevices[0].nodename is 'x'",
        ENTRY_KEYS,
    ),
    ("disabledDevices: [{devName: npu1}, {devName: npu1}]", "disabledDevices[1] is 'npu1'", "each device once"),
    ("deviceInjection: volumes", "deviceInjection is 'volumes'", INJECTIONS),
    ("cdiDir: var/run/cdi", "cdiDir is 'var/run/cdi'", "an absolute path"),
    ("listenAddress: somewhere", "listenAddress is 'somewhere'", ADDRESS),
    ('listenAddress: ":65536"', "listenAddress is ':65536'", ADDRESS),
    ("podResourcesSocket: kubelet.sock", "podResourcesSocket is 'kubelet.sock'", "an absolute path"),
    (
        f"podResourcesSocket: /{'p' * 107}",
        f"podResourcesSocket is '/{'p' * 107}'",
        "a socket path of at most 107 bytes, not 108",
    ),
    (
        f"pluginDir: /{'p' * 107}",
        f"pluginDir is '/{'p' * 107}'",
        "a socket path (pluginDir/socketName) of at most 107 bytes, not 121",
    ),
    (
        f"socketName: {'s' * 80}",
        f"socketName is '{'s' * 80}'",
        "a socket path (pluginDir/socketName) of at most 107 bytes, not 112",
    ),
    ("default-pe: Fusion", "default-pe is 'Fusion'", KEYS),
    ("config-file: /x", "config-file is '/x'", KEYS),
    ("sysfs: /host/sys", "sysfs is '/host/sys'", KEYS),
    ("Interval: 10", "Interval is '10'", KEYS),
    ("7: x", "7 is 'x'", KEYS),
    ("[interval]: 10", "a list of 1 is '10'", KEYS),
    ('"": x', "'' is 'x'", KEYS),
    ('"in\\nterval": x', r"'in\nterval' is 'x'", KEYS),
]


@pytest.mark.parametrize(("line", "given", "expected"), WRONG_TYPES + WRONG_VALUES)
def test_a_wrong_value_is_told_by_line_key_value_and_what_was_expected(
    tmp_path: Path, line: str, given: str, expected: str
) -> None:
    assert file_messages(tmp_path, f"# a comment\n\n{line}\n") == [cut(f":3: {given}: expected {expected}")]


@pytest.mark.parametrize("table", [WRONG_TYPES, WRONG_VALUES])
def test_every_key_of_the_file_is_in_the_table(table: list[tuple[str, str, str]]) -> None:
    assert {line.partition(":")[0] for line, _, _ in table} >= set(EVERY_KEY)


@pytest.mark.parametrize("key", EVERY_KEY)
def test_any_key_given_twice_is_told_once_with_the_line_of_the_second(tmp_path: Path, key: str) -> None:
    value = RIGHT[key]
    shown = "a list of 0" if value == "[]" else value
    assert file_messages(tmp_path, f"{key}: {value}\n\n{key}: {value}\n") == [
        f":3: {key} is '{shown}': expected each key once"
    ]


@pytest.mark.parametrize("key", EVERY_KEY)
def test_a_key_that_is_nearly_one_is_told_with_all_there_are(tmp_path: Path, key: str) -> None:
    value = RIGHT[key]
    shown = "a list of 0" if value == "[]" else value
    assert file_messages(tmp_path, f"\n{key}s: {value}\n") == [f":2: {key}s is '{shown}': expected {KEYS}"]


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("device-injection", "volumes", INJECTIONS),
        ("cdi-dir", "cdi", "an absolute path"),
        ("listen-address", "somewhere", ADDRESS),
        ("pod-resources-socket", "kubelet.sock", "an absolute path"),
        ("pod-resources-socket", "/" + "p" * 107, "a socket path of at most 107 bytes, not 108"),
        ("interval", "soon", SECONDS),
        ("interval", "", SECONDS),
        ("default-pe", "pe0-1", POLICIES),
        ("disabled-devices", "npu", DEVICE),
        ("plugin-dir", "here", "an absolute path"),
        ("socket-name", "a/b", "a file name"),
        ("resource-name", "npu", "a name with a domain, such as beta.furiosa.ai/npu"),
        ("sysfs", "sys", "an absolute path"),
        ("devfs", "", "a text that is not empty"),
        ("log-level", "loud", "one of debug, info, warning, error"),
        ("log-format", "xml", "one of text, json"),
        ("event-loop", "trio", "uvloop or asyncio"),
        ("config-file", "x.conf", "an absolute path"),
    ],
)
def test_a_wrong_option_is_told_by_the_name_it_was_given_under(option: str, text: str, expected: str) -> None:
    variable = "NPU_" + option.upper().replace("-", "_")
    assert messages({option: text}, {}) == [cut(f"command line: --{option} is {text!r}: expected {expected}")]
    if text:
        assert messages({}, {variable: text}) == [cut(f"environment: {variable} is {text!r}: expected {expected}")]
    else:
        assert load({}, {variable: text}) == load({}, {})  # manifests have empty variables for "not set"


def test_wrong_entries_of_a_comma_list_are_told_one_by_one() -> None:
    assert messages({"disabled-devices": "npu1,gpu2, npu1 ,npu3,x"}, {}) == [
        f"command line: --disabled-devices is 'gpu2': expected {DEVICE}",
        "command line: --disabled-devices is 'npu1': expected each device once",
        f"command line: --disabled-devices is 'x': expected {DEVICE}",
    ]


def test_a_device_may_be_disabled_on_several_nodes(tmp_path: Path) -> None:
    content = "disabledDevices: [{devName: npu1, nodeName: a}, {devName: npu1, nodeName: b}, {devName: npu1}, {}]"
    assert file_messages(tmp_path, content, {"NODE_NAME": "a"}) == [
        f":1: disabledDevices[3].devName is missing: expected {DEVICE}"
    ]


# -- several keys -----------------------------------------------------------------------------------------------------


def test_a_key_given_twice_is_told_with_the_line_of_the_second(tmp_path: Path) -> None:
    assert file_messages(tmp_path, "interval: 10\ndefaultPe: Single\ninterval: 20\n") == [
        ":3: interval is '20': expected each key once"
    ]


def test_a_key_of_an_entry_given_twice_is_told_with_the_line_of_the_second(tmp_path: Path) -> None:
    content = "disabledDevices:\n  - devName: npu1\n    devName: npu2\n"
    assert file_messages(tmp_path, content) == [":3: disabledDevices[0].devName is 'npu2': expected each key once"]


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    content = """\
socketName: a/b
interval: soon
disabledDevices:
  - devName: npu1
    nodename: x
  - npu2
  - nodeName: y
resourceName: npu
intervall: 10
defaultPe: Double
interval: 3
pluginDir: here
"""
    assert file_messages(tmp_path, content) == [
        ":1: socketName is 'a/b': expected a file name",
        f":2: interval is 'soon': expected {SECONDS}, not a string",
        f":5: disabledDevices[0].nodename is 'x': expected {ENTRY_KEYS}",
        f":6: disabledDevices[1] is 'npu2': expected {ENTRY}",
        f":7: disabledDevices[2].devName is missing: expected {DEVICE}",
        ":8: resourceName is 'npu': expected a name with a domain, such as beta.furiosa.ai/npu",
        f":9: intervall is '10': expected {KEYS}",
        f":10: defaultPe is 'Double': expected {POLICIES}",
        ":11: interval is '3': expected each key once",
        ":12: pluginDir is 'here': expected an absolute path",
    ]


def test_all_wrong_options_are_told_at_once() -> None:
    assert messages({"interval": "0", "sysfs": "sys"}, {"NPU_DEFAULT_PE": "x", "NPU_LOG_LEVEL": "y"}) == [
        f"environment: NPU_DEFAULT_PE is 'x': expected {POLICIES}",
        f"command line: --interval is '0': expected {SECONDS}",
        "command line: --sysfs is 'sys': expected an absolute path",
        "environment: NPU_LOG_LEVEL is 'y': expected one of debug, info, warning, error",
    ]


def test_a_node_cannot_be_told_from_others_without_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "disabledDevices: [{devName: npu1, nodeName: warboy-node01}]")
    assert messages({"config-file": path}, {}) == [
        "environment: NODE_NAME is missing: expected the name of this node, because disabledDevices names nodes"
    ]


# -- the length of the socket's path ----------------------------------------------------------------------------------


def test_a_socket_path_of_107_bytes_is_the_longest() -> None:
    directory = "/" + "d" * 59
    assert load({"plugin-dir": directory, "socket-name": "s" * 46}, {}).socket_name == "s" * 46
    assert messages({"plugin-dir": directory, "socket-name": "s" * 47}, {}) == [
        cut(f"command line: --plugin-dir is {directory!r}: expected {SOCKET_PATH}, not 108")
    ]


def test_bytes_are_counted_not_characters() -> None:
    assert messages({}, {"NPU_SOCKET_NAME": "엔" * 40}) == [
        f"environment: NPU_SOCKET_NAME is {'엔' * 40!r}: expected {SOCKET_PATH}, not 152"
    ]


def test_the_path_has_room_for_the_name_that_the_socket_is_made_under() -> None:
    directory = "/" + "d" * 94
    assert messages({"plugin-dir": directory, "socket-name": "s"}, {}) == [
        cut(f"command line: --plugin-dir is {directory!r}: expected {SOCKET_PATH}, not 108")
    ]


def test_a_long_socket_path_is_told_by_the_line_that_makes_it_long(tmp_path: Path) -> None:
    content = f"interval: soon\npluginDir: /d\nsocketName: {'s' * 105}\ndefaultPe: x\n"
    assert file_messages(tmp_path, content) == [
        f":1: interval is 'soon': expected {SECONDS}, not a string",
        f":3: socketName is '{'s' * 80}…': expected a socket path (pluginDir/socketName) of at most 107 bytes, not 108",
        f":4: defaultPe is 'x': expected {POLICIES}",
    ]


# -- the file as such -------------------------------------------------------------------------------------------------


def named(path: Path, expected: str) -> list[str]:
    return [f"config-file: the file is {str(path)!r}: expected {expected}"]


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "none.conf"
    (told,) = messages({"config-file": str(path)}, {})
    assert told.startswith(f"config-file: the file is '{path}': expected a readable file: ENOENT (No such file")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert messages({"config-file": str(tmp_path)}, {}) == named(tmp_path, "a regular file, not a directory")


def test_a_file_below_a_file_is_told_by_its_path(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "")) / "x"
    assert messages({"config-file": str(path)}, {}) == named(
        path, "a readable file: ENOTDIR (Not a directory): a part of the path is not a directory"
    )


@pytest.fixture
def _ordinary_user() -> Iterator[None]:
    """Root may read everything, so for a while this process is nobody."""
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    yield
    os.seteuid(user)


def test_a_file_without_permission_is_told_by_its_path(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = Path(write(tmp_path, "interval: 3"))
    path.chmod(0)
    request.getfixturevalue("_ordinary_user")
    (told,) = messages({"config-file": str(path)}, {})
    assert told.startswith(f"config-file: the file is '{path}': expected a readable file: EACCES (Permission denied): ")
    assert " has mode 0" in told


def test_a_file_that_cannot_be_read_to_its_end_is_told_by_its_path() -> None:
    # The address space of this process: opens, and has nothing at its start.
    path = Path("/proc/self/mem")
    assert messages({"config-file": str(path)}, {}) == named(path, "a readable file: EIO (Input/output error)")


def test_a_file_larger_than_a_config_map_can_be_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path, b"#" * (MAX_SIZE + 1)))
    assert messages({"config-file": str(path)}, {}) == named(path, "at most 1048576 bytes, not 1048577")


def test_a_file_as_large_as_a_config_map_can_be_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, b"#" * (MAX_SIZE - 12) + b"\ninterval: 3")
    assert load({"config-file": path}, {}).interval == 3.0


def test_an_endless_file_is_refused() -> None:
    expected = "a regular file, not a character device"
    assert messages({"config-file": "/dev/zero"}, {}) == named(Path("/dev/zero"), expected)


@pytest.mark.parametrize("content", ["", " \n", "# nothing\n", "---\n", "null\n", "\ufeff"])
def test_a_file_that_says_nothing_is_refused_and_told_what_to_write(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, content)
    (told,) = messages({"config-file": path}, {})
    assert told.startswith(f"{path}: the file is 'empty': expected a mapping of keys to values, or {{}} if ")


def test_many_unknown_keys_are_counted_and_a_few_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"k{number}: 1\n" for number in range(1000)))
    told = messages({"config-file": path}, {})
    assert len(told) == 51
    assert told[-1] == "and 950 more problems"


def test_a_megabyte_of_short_keys_is_one_problem(tmp_path: Path) -> None:
    (told,) = messages({"config-file": write(tmp_path, "a: 1\n" * 200_000)}, {})
    assert "expected at most 50000 keys and values" in told


def test_a_long_key_and_its_long_value_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path, f"{'k' * 1000}: {'v' * 10_000}\n")
    (told,) = messages({"config-file": path}, {})
    assert len(told) < 600


@pytest.mark.parametrize(
    ("content", "line", "shown", "expected"),
    [
        ("- interval: 10\n", 1, "a list of 1", "a mapping of keys to values"),
        ("# nothing\n\ninterval 10\n", 3, "interval 10", "a mapping of keys to values"),
        ("10", 1, "10", "a mapping of keys to values"),
        ("interval: 'ten\n", 2, "while scanning a quoted scalar, found unexpected end of stream", "YAML"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "while parsing a flow sequence, did not find expected ',' or ']'", "YAML"),
        ("a: b: c\n", 1, "mapping values are not allowed in this context", "YAML"),
        ("a: 1\n\tb: 2\n", 2, "while scanning a plain scalar, found a tab character that violates indentation", "YAML"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document in the stream, but found another document", "YAML"),
        ("a: 1\nb: \x07\n", 2, "unacceptable character #x0007: control characters are not allowed", "YAML"),
        (b"a: 1\n\nb: \xff\n", 3, "unacceptable character #x00ff: invalid leading UTF-8 octet", "YAML"),
        (b"interval: \xbf\xbf", 1, "unacceptable character #x00bf: invalid leading UTF-8 octet", "YAML"),
        ("a: &x 1\nb: *x\n", 2, "*x", "YAML without aliases"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "*x", "YAML without aliases"),
        ("disabledDevices: &all\n  - *all\n", 2, "*all", "YAML without aliases"),
        ("a: *nothing\n", 1, "*nothing", "YAML without aliases"),
        ("\na: " + "[" * 100_000, 2, "nested deeper", "at most 8 levels of lists and mappings"),
        ("{a: " * 100_000, 1, "nested deeper", "at most 8 levels of lists and mappings"),
        ("a: [[[[[[[[1]]]]]]]]", 1, "nested deeper", "at most 8 levels of lists and mappings"),
    ],
)
def test_a_file_that_is_no_mapping_or_no_yaml_is_told_in_one_line(
    tmp_path: Path, content: str | bytes, line: int, shown: str, expected: str
) -> None:
    shown = repr(shown)
    assert file_messages(tmp_path, content) == [f":{line}: the file is {shown}: expected {expected}"]


def test_an_anchor_that_nothing_refers_to_is_no_problem(tmp_path: Path) -> None:
    assert load({"config-file": write(tmp_path, "interval: &often 3\n")}, {}).interval == 3.0


def test_a_merge_key_is_an_unknown_key(tmp_path: Path) -> None:
    assert file_messages(tmp_path, "<<: {interval: 3}\n") == [f":1: << is 'a mapping': expected {KEYS}"]


def test_a_file_in_another_unicode_form_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "interval: 3\n".encode("utf-16"))
    assert load({"config-file": path}, {}).interval == 3.0
