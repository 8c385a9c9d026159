"""Any text becomes a label value, and a label value stays as it is."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npu_feature_discovery.labels.label_value import MAX_LENGTH, UNKNOWN, is_label_value, sanitise
from testkit.standins.nfd import is_value

VALUES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)
TEXTS = st.one_of(st.text(max_size=200), st.text("aZ09-_. /é\n", max_size=200), VALUES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Dell Inc.", "Dell-Inc"),
        ("Gigabyte Technology Co., Ltd.", "Gigabyte-Technology-Co.-Ltd"),
        ("To be filled by O.E.M.", "To-be-filled-by-O.E.M"),
        ("ThinkSystem SR650 V2 -[7Z73CTO1WW]-", "ThinkSystem-SR650-V2-7Z73CTO1WW"),
        ("PowerEdge R750", "PowerEdge-R750"),
        ("Standard PC (Q35 + ICH9, 2009)", "Standard-PC-Q35-ICH9-2009"),
        ("", "unknown"),
        ("   ", "unknown"),
        ("삼성전자", "unknown"),
        ("x" * 80, "x" * 63),
        ("x" * 62 + " yyy", "x" * 62),
        ("x" * 61 + "._-y", "x" * 61),
        ("é" * 80 + "x", "x"),
        ("_.-x-._", "x"),
        ("a\nb", "a-b"),
        ("a\0b", "a-b"),
        ("a - b", "a-b"),
        ("a--b", "a--b"),
        ("2025.4.0-dev2+0e9e56a", "2025.4.0-dev2-0e9e56a"),
        ("\u212a", "unknown"),
        ("x\n", "x"),
        ("@feature", "feature"),
    ],
)
def test_what_a_value_cannot_hold_goes(text: str, value: str) -> None:
    assert sanitise(text) == value


@given(TEXTS)
def test_what_comes_out_is_always_a_value_that_stays_as_it_is_and_never_empty(text: str) -> None:
    value = sanitise(text)
    assert value
    assert is_label_value(value)
    assert is_value(value)
    assert sanitise(value) == value


@given(VALUES)
@example("a--b")
@example("a" * MAX_LENGTH)
def test_what_was_a_value_already_is_kept(value: str) -> None:
    assert is_value(value)
    assert sanitise(value) == value


@given(st.text(max_size=MAX_LENGTH))
def test_no_letter_or_digit_of_a_short_text_is_lost(text: str) -> None:
    kept = re.findall(r"[A-Za-z0-9]", text)
    assert re.findall(r"[A-Za-z0-9]", sanitise(text)) == (kept or list(UNKNOWN))


@given(TEXTS)
@example("")
@example("a\n")
@example("a" * MAX_LENGTH)
@example("a" * (MAX_LENGTH + 1))
def test_two_readings_of_the_rule_for_values_agree(text: str) -> None:
    assert is_label_value(text) is is_value(text)
