"""Is a card fit for work: the verdict on one look, and the memory of many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.errors import (
    AccessDeniedError,
    ExhaustedError,
    FormatError,
    GoneError,
    HostError,
    ReadFailedError,
    StuckError,
)
from npu_core.health import HEALTHY, HealthPolicy, HealthReport, HealthState, HealthStatus, Vitals, judge
from testkit.strategies import health_reports

BAD = HealthReport(HealthStatus.UNHEALTHY, ("it is dead",))
UNSURE = HealthReport(HealthStatus.UNKNOWN, ("it does not say",))
LOOKS = {"+": HEALTHY, "-": BAD, "?": UNSURE}
STATUS = {HealthStatus.HEALTHY: "H", HealthStatus.UNHEALTHY: "U", HealthStatus.UNKNOWN: "?"}


@pytest.mark.parametrize(
    ("look", "status", "reasons"),
    [
        (Vitals(present=True, alive=True), HealthStatus.HEALTHY, ()),
        (Vitals(present=True, alive=None), HealthStatus.HEALTHY, ()),
        (Vitals(present=True, alive=False), HealthStatus.UNHEALTHY, ("the driver reports the card as dead",)),
        (Vitals(present=False, alive=None), HealthStatus.UNHEALTHY, ("the card is gone from /sys",)),
        (
            Vitals(present=False, alive=True, missing_files=("npu0",)),
            HealthStatus.UNHEALTHY,
            ("the card is gone from /sys",),
        ),
        (
            Vitals(present=True, alive=True, missing_files=("npu0pe0", "npu0ch1")),
            HealthStatus.UNHEALTHY,
            ("device file npu0pe0 is missing", "device file npu0ch1 is missing"),
        ),
        (
            Vitals(present=True, alive=False, missing_files=("npu0pe0",)),
            HealthStatus.UNHEALTHY,
            ("device file npu0pe0 is missing", "the driver reports the card as dead"),
        ),
        (
            Vitals(present=True, alive=GoneError("ENODEV (No such device)")),
            HealthStatus.UNHEALTHY,
            ("the device is gone: ENODEV (No such device)",),
        ),
        (
            Vitals(present=False, alive=ExhaustedError("EMFILE (Too many open files)")),
            HealthStatus.UNHEALTHY,
            ("the card is gone from /sys",),
        ),
        (
            Vitals(present=True, alive=ReadFailedError("EIO (Input/output error)"), missing_files=("npu0pe0",)),
            HealthStatus.UNHEALTHY,
            ("device file npu0pe0 is missing",),
        ),
    ],
)
def test_death_and_absence_are_unhealthy_and_silence_is_no_evidence(
    look: Vitals, status: HealthStatus, reasons: tuple[str, ...]
) -> None:
    assert judge(look) == HealthReport(status, reasons)


@pytest.mark.parametrize(
    "error",
    [ReadFailedError("EIO"), AccessDeniedError("EACCES"), FormatError("2", "0 or 1"), StuckError("no answer")],
    ids=lambda error: error.reason.value,
)
def test_what_cannot_be_read_is_unknown_and_says_why(error: HostError) -> None:
    report = judge(Vitals(present=True, alive=error))
    assert report.status is HealthStatus.UNKNOWN
    assert report.reasons == (f"cannot tell whether the card is alive: {error.detail}",)


@pytest.mark.parametrize(
    ("looks", "states"),
    [
        ("+", "H"),
        ("-", "U"),
        ("?", "U"),
        ("++++", "HHHH"),
        ("+-", "HU"),
        ("+-+", "HUU"),
        ("+-++", "HUUH"),
        ("+-+-++", "HUUUUH"),
        ("+-+?++", "HUUUUH"),
        ("?++", "UUH"),
        ("-++", "UUH"),
        ("+?+", "HHH"),
        ("+??+??+", "HHHHHHH"),
        ("+???", "HHHU"),
        ("+???++", "HHHUUH"),
        ("+????", "HHHUU"),
        ("+?-?", "HHUU"),
        ("-?+?+", "UUUUU"),
    ],
)
def test_a_look_a_second_with_two_seconds_of_grace_and_two_looks_to_recover(looks: str, states: str) -> None:
    policy = HealthPolicy(recovery_looks=2, unknown_grace=2.0)
    state = HealthState()
    seen = ""
    for second, look in enumerate(looks):
        state = state.after(LOOKS[look], float(second), policy)
        seen += STATUS[state.status]
    assert seen == states


def test_these_are_the_words_for_how_a_card_is() -> None:
    assert [status.value for status in HealthStatus] == ["healthy", "unhealthy", "unknown"]


def test_the_default_policy_is_two_looks_and_half_a_minute() -> None:
    assert HealthPolicy() == HealthPolicy(recovery_looks=2, unknown_grace=30.0)
    healthy = HealthState().after(HEALTHY, 0.0)
    unsure = healthy.after(UNSURE, 10.0)
    assert unsure.after(UNSURE, 39.9).is_healthy
    assert not unsure.after(UNSURE, 40.0).is_healthy


@pytest.mark.parametrize("before", ["", "+", "-", "+?", "-+"])
def test_looks_without_anything_to_ask_with_change_nothing_however_long(before: str) -> None:
    """Neither good nor bad is known of the card, and the process is to blame."""
    unasked = judge(Vitals(present=True, alive=ExhaustedError("no thread to ask with")))
    state = HealthState()
    for place, look in enumerate(before):
        state = state.after(LOOKS[look], float(place))
    for now in (10.0, 100.0, 1000.0):
        assert state.after(unasked, now) == state


@pytest.mark.parametrize(
    ("looks", "state"),
    [
        ("", HealthState(HealthStatus.UNKNOWN)),
        ("+?", HealthState(HealthStatus.HEALTHY, UNSURE.reasons, unknown_since=1.0)),
        ("+?+", HealthState(HealthStatus.HEALTHY)),
        ("-+", HealthState(HealthStatus.UNHEALTHY, BAD.reasons, good_looks=1)),
        ("-??", HealthState(HealthStatus.UNHEALTHY, UNSURE.reasons, unknown_since=1.0)),
        ("-?-", HealthState(HealthStatus.UNHEALTHY, BAD.reasons)),
        ("-?+", HealthState(HealthStatus.UNHEALTHY, UNSURE.reasons, good_looks=1)),
    ],
)
def test_a_state_says_what_is_wrong_since_when_nothing_is_known_and_how_well_it_recovers(
    looks: str, state: HealthState
) -> None:
    seen = HealthState()
    for second, look in enumerate(looks):
        seen = seen.after(LOOKS[look], float(second))
    assert seen == state


policies = st.builds(HealthPolicy, recovery_looks=st.integers(1, 4), unknown_grace=st.sampled_from([0.0, 1.0, 5.0]))
looks_in_time = st.lists(st.tuples(health_reports(), st.sampled_from([0.0, 0.5, 1.0, 4.0])), min_size=1, max_size=14)


@given(policies, looks_in_time)
def test_an_unhealthy_card_is_not_healthy_before_enough_good_looks_in_a_row(
    policy: HealthPolicy, looks: list[tuple[HealthReport, float]]
) -> None:
    state, now, in_a_row = HealthState(), 0.0, 0
    for report, passed in looks:
        now += passed
        before, state = state, state.after(report, now, policy)
        in_a_row = in_a_row + 1 if report.status is HealthStatus.HEALTHY else 0
        if before.status is HealthStatus.UNHEALTHY:
            assert state.is_healthy == (in_a_row >= policy.recovery_looks)
        elif report.status is HealthStatus.HEALTHY:
            assert state.is_healthy


@given(policies, looks_in_time)
def test_looks_that_cannot_tell_leave_a_healthy_card_so_for_the_grace_and_no_longer(
    policy: HealthPolicy, looks: list[tuple[HealthReport, float]]
) -> None:
    state, now = HealthState().after(HEALTHY, 0.0, policy), 0.0
    unsure_since: float | None = None
    for report, passed in looks:
        now += passed
        before, state = state, state.after(report, now, policy)
        if report.status is not HealthStatus.UNKNOWN:
            unsure_since = None
            continue
        unsure_since = now if unsure_since is None else unsure_since
        assert state.is_healthy == (before.is_healthy and now - unsure_since < policy.unknown_grace)
        assert state.reasons == report.reasons
