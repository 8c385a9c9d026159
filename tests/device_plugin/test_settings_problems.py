"""What is wrong with wrong settings: one problem each, with key, value and place. test_golden.py has the sentences."""

import re
from pathlib import Path

import pytest

from npu_core.errors import Problem, ProblemCode
from npu_core.service.given_files import MAX_SIZE
from npu_device_plugin.settings import load
from tests.device_plugin.configs import problems, write

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
ENTRY = "disabledDevices[0]"

WRONG_LINES: dict[str, tuple[str, ...]] = {
    "cdiDir": ("", "[/a]", "{a: /b}", "false", "var/run/cdi"),
    "defaultPe": ("true", "null", "1.5", "[Fusion]", "{a: 1}", "pe0-1", "3", '""'),
    "deviceInjection": ("", "[a]", "{a: b}", "volumes"),
    "disabledDevices": ("npu1", "1", "no", "{devName: npu1}"),
    "interval": ("true", "", '"10"', "[10]", "{a: 1}", "0", "-1", "86401", ".inf", ".nan", "0x10", "10s"),
    "listenAddress": ("", "[a]", "{a: b}", "somewhere", '":65536"'),
    "pluginDir": ("", "[/a]", "{a: /b}", "12", "device-plugins", '" "', f"/{'p' * 107}"),
    "podResourcesSocket": ("", "[/a]", "{a: /b}", "kubelet.sock", f"/{'p' * 107}"),
    "resourceName": (
        *("", "[/a]", "npu", "a.kubernetes.io/npu", "requests.furiosa.ai/npu", "Furiosa.ai/npu", "furiosa.ai/npu!"),
        "{warboy: a.ai/x, renegade: a.ai/x}",
    ),
    "socketName": (
        *("", "[/a]", "{a: b}", "a/b", "..", '"a\\0b"', "kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"),
        "s" * 80,
    ),
}
"""Wrong values of each key of the file."""

WRONG_PARTS: tuple[tuple[str, str, ProblemCode], ...] = (
    *(
        (f"disabledDevices: [{entry}]", f"{ENTRY}{part}", ProblemCode.VALUE)
        for part, entries in {
            "": ("npu1", "[npu1]", "~"),
            ".devName": (
                *("{devName: 1}", "{devName: [npu1]}", '{devName: ""}'),
                *(
                    f"{{devName: {name}}}"
                    for name in ("npu", "npu01", "npu256", "npu1pe1-0", "NPU1", "/dev/npu1", "6d:00.0", "0000-aaaa")
                ),
            ),
            ".nodeName": tuple(
                f"{{devName: npu1, nodeName: {name}}}"
                for name in ("~", '""', "npu_1", "npu-001/", "npu-001.", "-npu", "a..b", "Größe", "a b", "a" * 254)
            ),
        }.items()
        for entry in entries
    ),
    ("disabledDevices: [{}]", f"{ENTRY}.devName", ProblemCode.MISSING),
    ("disabledDevices: [{devName: npu1, nodename: x}]", f"{ENTRY}.nodename", ProblemCode.UNKNOWN_KEY),
    ("disabledDevices: [{devName: npu1}, {devName: npu1}]", "disabledDevices[1]", ProblemCode.VALUE),
    ("resourceName: {warboy: 1}", "resourceName.warboy", ProblemCode.VALUE),
    ("resourceName: {warboy: {a: b}}", "resourceName.warboy", ProblemCode.VALUE),
    ("resourceName: {warboy: npu}", "resourceName.warboy", ProblemCode.VALUE),
    ("resourceName: {gpu: a.ai/npu}", "resourceName.gpu", ProblemCode.UNKNOWN_KEY),
    *((f"{key}s: 1", f"{key}s", ProblemCode.UNKNOWN_KEY) for key in RIGHT),
    *((f"{key}: /x", key, ProblemCode.UNKNOWN_KEY) for key in ("default-pe", "config-file", "sysfs", "Interval", "7")),
    ("[interval]: 10", "a list of 1", ProblemCode.UNKNOWN_KEY),
    ('"": x', "''", ProblemCode.UNKNOWN_KEY),
    ('"in\\nterval": x', r"'in\nterval'", ProblemCode.UNKNOWN_KEY),
    ("<<: {interval: 3}", "<<", ProblemCode.UNKNOWN_KEY),
)
"""Lines of the file with something wrong in a part of a value, or in the key: the problem's key and code."""

WRONG_OPTIONS: tuple[tuple[str, str], ...] = (
    ("device-injection", "volumes"),
    ("cdi-dir", "cdi"),
    ("listen-address", "somewhere"),
    ("pod-resources-socket", "kubelet.sock"),
    ("pod-resources-socket", "/" + "p" * 107),
    ("interval", "soon"),
    ("interval", ""),
    ("default-pe", "pe0-1"),
    ("disabled-devices", "npu"),
    ("plugin-dir", "here"),
    ("socket-name", "a/b"),
    ("resource-name", "npu"),
    ("sysfs", "sys"),
    ("devfs", ""),
    ("log-level", "loud"),
    ("log-format", "xml"),
    ("event-loop", "trio"),
    ("config-file", "x.conf"),
)

WRONG_FILES: tuple[tuple[str | bytes, int | None, ProblemCode], ...] = (
    *((content, None, ProblemCode.MISSING) for content in ("", " \n", "# nothing\n", "---\n", "null\n", "\ufeff")),
    ("- interval: 10\n", 1, ProblemCode.VALUE),
    ("# nothing\n\ninterval 10\n", 3, ProblemCode.VALUE),
    ("10", 1, ProblemCode.VALUE),
    ("interval: 'ten\n", 2, ProblemCode.SYNTAX),
    ("a: 1\nb: [1, 2\nc: 3\n", 3, ProblemCode.SYNTAX),
    ("a: b: c\n", 1, ProblemCode.SYNTAX),
    ("a: 1\n\tb: 2\n", 2, ProblemCode.SYNTAX),
    ("a: 1\n---\nb: 2\n", 2, ProblemCode.SYNTAX),
    ("a: 1\nb: \x07\n", 2, ProblemCode.SYNTAX),
    (b"a: 1\n\nb: \xff\n", 3, ProblemCode.SYNTAX),
    (b"interval: \xbf\xbf", 1, ProblemCode.SYNTAX),
    ("a: &x 1\nb: *x\n", 2, ProblemCode.SYNTAX),
    ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, ProblemCode.SYNTAX),
    ("a: *nothing\n", 1, ProblemCode.SYNTAX),
    ("\na: " + "[" * 100_000, 2, ProblemCode.TOO_LARGE),
    ("{a: " * 100_000, 1, ProblemCode.TOO_LARGE),
    ("a: [[[[[[[[1]]]]]]]]", 1, ProblemCode.TOO_LARGE),
)
"""Files that hold no settings: the line and the code of the only problem."""


def of_file(directory: Path, content: str | bytes, environment: dict[str, str] | None = None) -> tuple[Problem, ...]:
    """The problems of a configuration file; each of them names it."""
    path = write(directory, content)
    found = problems({"config-file": path}, environment or {})
    assert {problem.source for problem in found} == {path}
    return found


def places(found: tuple[Problem, ...]) -> list[tuple[int | None, str, ProblemCode]]:
    return [(problem.line, problem.key, problem.code) for problem in found]


# -- one key, one wrong value -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key", "code"),
    [*((f"{key}: {text}", key, ProblemCode.VALUE) for key in RIGHT for text in WRONG_LINES[key]), *WRONG_PARTS],
)
def test_a_wrong_value_is_one_problem_with_its_line_and_its_key(
    tmp_path: Path, line: str, key: str, code: ProblemCode
) -> None:
    assert places(of_file(tmp_path, f"# a comment\n\n{line}\n")) == [(3, key, code)]


@pytest.mark.parametrize("key", RIGHT)
def test_any_key_given_twice_is_one_problem_with_the_line_of_the_second(tmp_path: Path, key: str) -> None:
    found = of_file(tmp_path, f"{key}: {RIGHT[key]}\n\n{key}: {RIGHT[key]}\n")
    assert places(found) == [(3, key, ProblemCode.DUPLICATE_KEY)]


def test_a_key_of_an_entry_given_twice_has_the_line_of_the_second(tmp_path: Path) -> None:
    content = "disabledDevices:\n  - devName: npu1\n    devName: npu2\n"
    assert places(of_file(tmp_path, content)) == [(3, f"{ENTRY}.devName", ProblemCode.DUPLICATE_KEY)]


@pytest.mark.parametrize(("option", "text"), WRONG_OPTIONS)
def test_a_wrong_option_has_the_name_that_it_was_given_under(option: str, text: str) -> None:
    variable = "NPU_" + option.upper().replace("-", "_")
    [problem] = problems({option: text}, {})
    assert (problem.source, problem.key, problem.value) == ("command line", f"--{option}", shown(text))
    if text:
        [problem] = problems({}, {variable: text})
        assert (problem.source, problem.key, problem.value) == ("environment", variable, shown(text))
    else:
        assert load({}, {variable: text}) == load({}, {})  # manifests have empty variables for "not set"


def shown(text: str) -> str:
    """A long text as a problem has it."""
    return re.sub(r"^(.{80}).+", r"\1…", text)


def test_wrong_entries_of_a_comma_list_are_told_one_by_one() -> None:
    found = problems({"disabled-devices": "npu1,gpu2, npu1 ,npu3,x"}, {})
    assert [problem.value for problem in found] == ["gpu2", "npu1", "x"]


def test_a_device_may_be_disabled_on_several_nodes(tmp_path: Path) -> None:
    content = "disabledDevices: [{devName: npu1, nodeName: a}, {devName: npu1, nodeName: b}, {devName: npu1}, {}]"
    assert [problem.key for problem in of_file(tmp_path, content, {"NODE_NAME": "a"})] == ["disabledDevices[3].devName"]


# -- several keys -----------------------------------------------------------------------------------------------------

EVERYTHING_WRONG = """\
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


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    assert places(of_file(tmp_path, EVERYTHING_WRONG)) == [
        (1, "socketName", ProblemCode.VALUE),
        (2, "interval", ProblemCode.VALUE),
        (5, "disabledDevices[0].nodename", ProblemCode.UNKNOWN_KEY),
        (6, "disabledDevices[1]", ProblemCode.VALUE),
        (7, "disabledDevices[2].devName", ProblemCode.MISSING),
        (8, "resourceName", ProblemCode.VALUE),
        (9, "intervall", ProblemCode.UNKNOWN_KEY),
        (10, "defaultPe", ProblemCode.VALUE),
        (11, "interval", ProblemCode.DUPLICATE_KEY),
        (12, "pluginDir", ProblemCode.VALUE),
    ]


def test_all_wrong_options_are_told_at_once() -> None:
    found = problems({"interval": "0", "sysfs": "sys"}, {"NPU_DEFAULT_PE": "x", "NPU_LOG_LEVEL": "y"})
    assert [problem.key for problem in found] == ["NPU_DEFAULT_PE", "--interval", "--sysfs", "NPU_LOG_LEVEL"]


def test_a_node_cannot_be_told_from_others_without_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "disabledDevices: [{devName: npu1, nodeName: warboy-node01}]")
    [problem] = problems({"config-file": path}, {})
    assert (problem.source, problem.key, problem.code) == ("environment", "NODE_NAME", ProblemCode.MISSING)


# -- the length of the socket's path ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directory", "name", "wrong"),
    [
        (f"/{'d' * 59}", "s" * 46, None),  # 107 bytes
        (f"/{'d' * 59}", "s" * 47, "--plugin-dir"),
        (f"/{'d' * 94}", "s", "--plugin-dir"),  # no room for the name that the socket is made under
        ("/d", "엔" * 40, "--socket-name"),  # bytes are counted, not characters
    ],
)
def test_a_socket_path_has_at_most_107_bytes_and_the_longer_part_is_told(
    directory: str, name: str, wrong: str | None
) -> None:
    options = {"plugin-dir": directory, "socket-name": name}
    if wrong is None:
        assert load(options, {}).socket_name == name
    else:
        assert [problem.key for problem in problems(options, {})] == [wrong]


def test_a_long_socket_path_is_told_by_the_line_that_makes_it_long(tmp_path: Path) -> None:
    content = f"interval: soon\npluginDir: /d\nsocketName: {'s' * 105}\ndefaultPe: x\n"
    found = of_file(tmp_path, content)
    assert [(problem.line, problem.key) for problem in found] == [(1, "interval"), (3, "socketName"), (4, "defaultPe")]


# -- the file as such -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["none.conf", ".", "/dev/zero", "/proc/self/mem"])
def test_a_file_that_cannot_be_read_is_told_by_its_path(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / place)
    [problem] = problems({"config-file": path}, {})
    assert (problem.source, problem.value, problem.code) == ("config-file", path, ProblemCode.UNREADABLE)


def test_a_file_as_large_as_a_config_map_can_be_is_read_and_a_larger_one_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"#" * (MAX_SIZE - 12) + b"\ninterval: 3")
    assert load({"config-file": path}, {}).interval == 3.0
    [problem] = problems({"config-file": write(tmp_path, b"#" * (MAX_SIZE + 1))}, {})
    assert problem.code == ProblemCode.UNREADABLE


@pytest.mark.parametrize(("content", "line", "code"), WRONG_FILES)
def test_a_file_without_settings_is_one_problem(
    tmp_path: Path, content: str | bytes, line: int | None, code: ProblemCode
) -> None:
    assert places(of_file(tmp_path, content)) == [(line, "the file", code)]


def test_a_megabyte_of_short_keys_is_one_problem(tmp_path: Path) -> None:
    assert [problem.code for problem in of_file(tmp_path, "a: 1\n" * 200_000)] == [ProblemCode.TOO_LARGE]


def test_many_unknown_keys_and_long_ones_are_told_in_few_words(tmp_path: Path) -> None:
    many = of_file(tmp_path, "".join(f"k{number}: 1\n" for number in range(1000)))
    assert len(many) == 1000
    [long] = of_file(tmp_path, f"{'k' * 1000}: {'v' * 10_000}\n")
    assert len(str(long)) < 600


@pytest.mark.parametrize("content", ["interval: &often 3\n", "interval: 3\n".encode("utf-16")])
def test_an_anchor_that_nothing_refers_to_and_another_unicode_form_are_no_problem(
    tmp_path: Path, content: str | bytes
) -> None:
    assert load({"config-file": write(tmp_path, content)}, {}).interval == 3.0
