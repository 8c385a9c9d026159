"""Settings: file below environment below command line, and one clear line for each thing that is wrong."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from npu_core.errors import Problem, ProblemCode, SettingsError
from npu_core.limits import LIMITS, Measure, Span
from npu_core.service.logs import LogFormat, LogLevel
from npu_core.service.options import live_fields
from npu_core.service.settings import COMMAND_LINE, Address, Given, environment_name
from npu_metrics_exporter.metrics.policy import PodLabels, SensorLabels, Units
from npu_metrics_exporter.setting_values import label_name, list_of, static_labels
from npu_metrics_exporter.settings import OPTIONS, Settings, load
from tests.metrics_exporter import wrong

ROWS = {row.name: row for row in OPTIONS}
NAMES = tuple(ROWS)
WISHES = tuple(row.name for row in OPTIONS if row.in_file)
SURROUNDINGS = tuple(row.name for row in OPTIONS if not row.in_file)
RIGHT: dict[str, tuple[str, str, object]] = {
    "listen-address": ("10.0.0.1:9100,:9101", "listen_address", (Address("10.0.0.1", 9100), Address("", 9101))),
    "interval": ("2.5", "interval", 2.5),
    "grace": ("0", "grace", 0.0),
    "units": ("Spec", "units", Units.SPEC),
    "sensor-labels": ("lower", "sensor_labels", SensorLabels.LOWER),
    "include": ("furiosa_npu_hw_.*, furiosa_npu_alive", "include", ("furiosa_npu_hw_.*", "furiosa_npu_alive")),
    "exclude": ("furiosa_npu_uptime", "exclude", ("furiosa_npu_uptime",)),
    "include-sensors": ("Peak|Average", "include_sensors", ("Peak|Average",)),
    "exclude-sensors": ("NE.*", "exclude_sensors", ("NE.*",)),
    "static-labels": ("zone=b,rack=r1", "static_labels", (("rack", "r1"), ("zone", "b"))),
    "limits": (
        "power=0..2000,temperature=-40..125.5,frequency=..2e10,uptime=1..",
        "limits",
        (
            (Measure.FREQUENCY, Span(0, 2e10)),
            (Measure.POWER, Span(0, 2000)),
            (Measure.TEMPERATURE, Span(-40, 125.5)),
            (Measure.UPTIME, Span(1, 2e9)),
        ),
    ),
    "keep-labels": ("device,arch", "keep_labels", ("device", "arch")),
    "drop-labels": ("uuid,core", "drop_labels", ("uuid", "core")),
    "max-series": ("500", "max_series", 500),
    "pod-labels": ("inline", "pod_labels", PodLabels.INLINE),
    "pod-interval": ("5", "pod_interval", 5.0),
    "pod-ttl": ("30", "pod_ttl", 30.0),
    "max-in-flight": ("4", "max_in_flight", 4),
    "web-config-file": ("/etc/web.yaml", "web_config_file", "/etc/web.yaml"),
    "pod-resources-socket": ("/run/k.sock", "pod_resources_socket", "/run/k.sock"),
    "plugin-dir": ("/k/plugins/", "plugin_dir", "/k/plugins"),
    "pod-logs-dir": ("/k/logs", "pod_logs_dir", "/k/logs"),
    "sysfs": ("/host/sys/", "sysfs", "/host/sys"),
    "devfs": ("/host/dev", "devfs", "/host/dev"),
    "log-level": ("WARNING", "log_level", LogLevel.WARNING),
    "log-format": ("json", "log_format", LogFormat.JSON),
    "event-loop": ("asyncio", "event_loop", "asyncio"),
}
"""For every option but the file's a right text, its field, and what the field is then."""

TEXTS = ("units", "podLogsDir")
NUMBERS = ("interval", "grace", "podInterval", "podTtl", "maxSeries", "maxInFlight")
LISTS = ("include", "keepLabels")


def problems(options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[Problem, ...]:
    """What is wrong with settings."""
    with pytest.raises(SettingsError) as caught:
        load(options, environment)
    return caught.value.problems


def write(directory: Path, content: str) -> str:
    path = directory / "exporter.yaml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def in_file(directory: Path, content: str) -> list[tuple[str, int | None, ProblemCode]]:
    """Key, line and kind of each problem of a file."""
    path = write(directory, content)
    found = problems({"config-file": path}, {})
    assert {each.source for each in found} == {path}
    return [(each.key, each.line, each.code) for each in found]


# -- right ones --------------------------------------------------------------------------------------------------------


def test_nothing_given_is_the_default() -> None:
    assert load({}, {}) == Settings()
    assert Settings().listen_address == (Address("", 6254),)


def test_there_is_an_example_for_every_option() -> None:
    assert set(RIGHT) == set(NAMES) - {"config-file"}
    assert set(wrong.OPTIONS) == set(NAMES)


@pytest.mark.parametrize("option", RIGHT)
def test_an_option_sets_its_field_alone(option: str) -> None:
    text, field, value = RIGHT[option]
    settings = load({option: text}, {})
    assert getattr(settings, field) == value != getattr(Settings(), field)
    others = {name for name in Settings.__dataclass_fields__ if getattr(settings, name) != getattr(Settings(), name)}
    assert others == {field}


@pytest.mark.parametrize("option", RIGHT)
def test_a_variable_says_the_same_as_its_option(option: str) -> None:
    text = RIGHT[option][0]
    assert load({}, {environment_name(option): text}) == load({option: text}, {})


@pytest.mark.parametrize("option", WISHES)
def test_the_file_says_the_same_as_the_option(tmp_path: Path, option: str) -> None:
    text, field, value = RIGHT[option]
    form = text if ROWS[option].file_key in NUMBERS else f"'{text}'"
    path = write(tmp_path, f"{ROWS[option].file_key}: {form}\n")
    assert getattr(load({"config-file": path}, {}), field) == value


def test_the_file_is_below_the_environment_and_that_below_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "interval: 1\ngrace: 1\npodTtl: 1\n")
    environment = {"NPU_GRACE": "2", "NPU_POD_TTL": "2"}
    settings = load({"config-file": path, "pod-ttl": "3"}, environment)
    assert (settings.interval, settings.grace, settings.pod_ttl) == (1, 2, 3)


def test_lists_may_be_lists_in_the_file_and_labels_a_mapping(tmp_path: Path) -> None:
    content = (
        "include: [a, 'b,c']\nlistenAddress: [':1', '[::1]:2']\nstaticLabels: {zone: b, rack: 7}\npodLabels: off\n"
        "limits: {power: 0..50, uptime: '1..'}\n"
    )
    settings = load({"config-file": write(tmp_path, content)}, {})
    assert settings.include == ("a", "b,c")
    assert settings.listen_address == (Address("", 1), Address("::1", 2))
    assert settings.static_labels == (("rack", "7"), ("zone", "b"))
    assert settings.limits == ((Measure.POWER, Span(0, 50)), (Measure.UPTIME, Span(1, 2e9)))
    assert settings.pod_labels is PodLabels.OFF


def test_limits_that_are_not_given_are_as_they_were() -> None:
    assert load({}, {}).all_limits == LIMITS
    assert load({"limits": "power=0..50"}, {}).all_limits == {**LIMITS, Measure.POWER: Span(0, 50)}


def test_the_file_itself_may_be_named_by_its_variable_and_the_node_by_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, "interval: 1\n")
    settings = load({}, {"NPU_CONFIG_FILE": path, "NODE_NAME": "here", "NPU_GRACE": ""})
    assert settings == Settings(interval=1, node_name="here", config_file=path)


def test_values_are_too_old_after_three_intervals() -> None:
    assert load({"interval": "4"}, {}).max_age == 12


def test_the_policy_is_what_the_settings_say() -> None:
    settings = load({option: RIGHT[option][0] for option in WISHES}, {"NODE_NAME": "here"})
    policy = settings.policy
    assert (policy.units, policy.sensor_labels, policy.pod_labels) == (Units.SPEC, SensorLabels.LOWER, PodLabels.INLINE)
    assert (policy.wants_family("furiosa_npu_alive"), policy.wants_family("furiosa_npu_alive2")) == (True, False)
    assert (policy.wants_sensor("Peak"), policy.wants_sensor("NE")) == (True, False)
    assert (policy.wants_label("arch"), policy.wants_label("uuid"), policy.wants_label("pod")) == (True, False, False)
    assert (policy.static_labels, policy.max_series, policy.node) == ((("rack", "r1"), ("zone", "b")), 500, "here")


def test_every_live_field_is_a_field_that_the_file_can_set() -> None:
    assert {option.replace("-", "_") for option in WISHES} >= live_fields(OPTIONS)


# -- wrong ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "text"), [(name, text) for name, texts in wrong.OPTIONS.items() for text in texts])
def test_a_wrong_option_is_told_under_its_name_with_its_value(option: str, text: str) -> None:
    (problem,) = problems({option: text}, {})
    assert (problem.key, problem.source) == (f"--{option}", COMMAND_LINE)
    # Of a list, the entry that is wrong.
    assert (problem.value or "").strip().removesuffix("…") in text


@pytest.mark.parametrize("option", wrong.OPTIONS)
def test_a_wrong_variable_is_told_under_its_own_name(option: str) -> None:
    name = environment_name(option)
    (problem,) = problems({}, {name: wrong.OPTIONS[option][0]})
    assert (problem.key, problem.source) == (name, "environment")


@pytest.mark.parametrize("option", WISHES)
def test_a_wrong_key_is_told_with_its_line(tmp_path: Path, option: str) -> None:
    ((key, line, _),) = in_file(tmp_path, f"\n{ROWS[option].file_key}: '{wrong.OPTIONS[option][0]}'\n")
    assert key.startswith(ROWS[option].file_key)
    assert line == 2


@pytest.mark.parametrize(
    ("key", "form"),
    [
        *((key, form) for key in TEXTS for form in ("[]", "{a: b}", "", "true", "3")),
        *((key, form) for key in NUMBERS[:2] for form in ("[]", "{a: b}", "", "true", '"x"')),
        *((key, form) for key in LISTS for form in ("{a: b}", "[[a]]", "[{a: b}]", "[~]")),
        *((key, form) for key in ("keepLabels", "dropLabels") for form in ("3", "[3]", "0x1")),
        *(("staticLabels", form) for form in ("3", "true", "[a]", "[[a=b]]", "{a: [b]}", "{a: {b: c}}", "{a: }")),
        *(
            ("limits", form)
            for form in ("3", "true", "[power]", "[[power=0..5]]", "{power: [0, 5]}", "{power: 5}", "{power: }")
        ),
        *(("listenAddress", form) for form in ("3", "true", "[]", "{a: b}", "[3]", "[[':1']]", "")),
    ],
)
def test_a_key_in_a_form_it_cannot_have_is_told_in_one_line(tmp_path: Path, key: str, form: str) -> None:
    ((found, line, _),) = in_file(tmp_path, f"{key}: {form}\n")
    assert (found.startswith(key), line) == (True, 1)


@pytest.mark.parametrize("option", SURROUNDINGS)
def test_what_belongs_to_the_machine_is_no_key_of_the_file(tmp_path: Path, option: str) -> None:
    assert in_file(tmp_path, f"{ROWS[option].file_key}: /a\n") == [(ROWS[option].file_key, 1, ProblemCode.UNKNOWN_KEY)]


def test_a_wrong_value_in_the_file_is_told_also_where_it_is_overruled(tmp_path: Path) -> None:
    (problem,) = problems({"config-file": write(tmp_path, "interval: soon\n"), "interval": "3"}, {})
    assert (problem.key, problem.line, problem.value) == ("interval", 1, "soon")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "intervall: 1\nunits: metric\ninclude: ['(', a, a]\n")
    found = problems({"config-file": path, "grace": "x"}, {"NPU_LOG_LEVEL": "loud"})
    assert [(each.key, each.line) for each in found] == [
        ("intervall", 1),
        ("units", 2),
        ("include[0]", 3),
        ("include[2]", 3),
        ("--grace", None),
        ("NPU_LOG_LEVEL", None),
    ]


def test_a_file_that_is_not_there_is_told_beside_the_rest(tmp_path: Path) -> None:
    path = f"{tmp_path}/none.yaml"
    missing, grace = problems({"config-file": path, "grace": "x"}, {})
    assert (missing.value, missing.code) == (path, ProblemCode.UNREADABLE)
    assert grace.key == "--grace"


@pytest.mark.parametrize("option", ["keep_labels", "static_labels"])
def test_a_list_as_long_as_a_file_can_hold_is_read_in_one_pass(option: str) -> None:
    """Comparing each entry with each other one would take longer than the limit of a test."""
    names = [f"a{number:x}" for number in range(200_000)]
    text = ",".join(f"{name}=1" if option == "static_labels" else name for name in names)
    parse: Callable[[Given], tuple[object, ...]] = static_labels if option == "static_labels" else list_of(label_name)
    assert len(parse(Given("list", text, COMMAND_LINE))) == len(names)
