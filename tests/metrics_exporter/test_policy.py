"""What is exported if nothing is said, and what is if something is."""

import pytest

from npu_metrics_exporter.metrics.pattern import Pattern, compiled
from npu_metrics_exporter.metrics.policy import ExportPolicy, PodLabels, SensorLabels, Units


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(map(compiled, texts))


def test_without_a_word_everything_is_exported_as_it_is_documented() -> None:
    assert ExportPolicy() == ExportPolicy(
        units=Units.BOTH,
        sensor_labels=SensorLabels.RAW,
        pod_labels=PodLabels.JOIN,
        include=(),
        exclude=(),
        include_sensors=(),
        exclude_sensors=(),
        static_labels=(),
        keep=None,
        drop=frozenset(),
        max_series=10_000,
        node="",
    )


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        ([], [], True),
        (["a", "b"], [], True),
        (["b", "c"], [], False),
        (["b", "b.*"], [], False),
        (["a.*"], [], True),
        ([], ["b", "a"], False),
        ([], ["b", "c"], True),
        (["a"], ["a"], False),
        (["a"], ["b"], True),
    ],
)
def test_a_name_is_wanted_if_it_is_included_and_not_excluded(
    include: list[str], exclude: list[str], *, wanted: bool
) -> None:
    chosen, left_out = patterns(*include), patterns(*exclude)
    assert ExportPolicy(include=chosen, exclude=left_out).wants_family("a") is wanted
    assert ExportPolicy(include_sensors=chosen, exclude_sensors=left_out).wants_sensor("a") is wanted


@pytest.mark.parametrize(
    ("keep", "drop", "wanted"),
    [(None, set(), True), (None, {"a"}, False), ({"a"}, set(), True), ({"b"}, set(), False), ({"a"}, {"a"}, False)],
)
def test_a_label_is_kept_unless_others_are_or_it_is_dropped(
    keep: set[str] | None, drop: set[str], *, wanted: bool
) -> None:
    policy = ExportPolicy(keep=None if keep is None else frozenset(keep), drop=frozenset(drop))
    assert policy.wants_label("a") is wanted
