"""The arithmetic of core ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.cores import CoreRange
from npu_core.errors import FormatError, UsageError
from testkit.strategies import core_ranges


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("0", 0, 0), ("7", 7, 7), ("0-1", 0, 1), ("4-7", 4, 7), ("10-12", 10, 12), ("0-255", 0, 255)],
)
def test_the_text_form_is_that_of_device_files(text: str, first: int, last: int) -> None:
    assert CoreRange.parse(text) == CoreRange(first, last)
    assert str(CoreRange(first, last)) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "-1", "0-", "-", "1-0", "0-0", "3-3", "00", "01", "0-01", "0--1", "0-1-2", "0-1 ", " 0", "0-1\n",
     "256", "0-256", "999", "1000", "٣", "0,1", "0x1", "+1", "1_0"],
)  # fmt: skip
def test_texts_that_no_device_file_has_are_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        CoreRange.parse(text)
    assert caught.value.text == text
    assert "core range" in caught.value.expected


@pytest.mark.parametrize("text", ["256", "999", "0-256", "0-999", "1-0", "0-0"])
def test_a_range_that_is_written_well_is_refused_for_what_it_says(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        CoreRange.parse(text)
    assert caught.value.expected == "an ascending core range within 0-255"


@pytest.mark.parametrize("text", ["1000", "0-1000", "9" * 5000, "0-01"])
def test_a_number_that_no_core_has_is_not_even_read(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        CoreRange.parse(text)
    assert caught.value.expected == "a core range such as 0 or 0-1"


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (1, 0), (0, 256), (256, 256)])
def test_cores_that_cannot_be_are_refused(first: int, last: int) -> None:
    with pytest.raises(UsageError, match=f"cores {first}-{last}"):
        CoreRange(first, last)


@given(core_ranges())
def test_a_range_is_its_cores_in_order(cores: CoreRange) -> None:
    listed = list(cores)
    assert listed == list(range(cores.first, cores.last + 1))
    assert len(cores) == len(listed)
    assert all(core in cores for core in listed)
    assert cores.first - 1 not in cores
    assert cores.last + 1 not in cores


@given(core_ranges(), core_ranges())
def test_overlap_is_symmetric_and_means_a_common_core(one: CoreRange, other: CoreRange) -> None:
    assert one.overlaps(other) == other.overlaps(one) == bool(set(one) & set(other))


@given(core_ranges(), core_ranges())
def test_enclosing_means_having_every_core(one: CoreRange, other: CoreRange) -> None:
    assert one.encloses(other) == (set(other) <= set(one))


@given(core_ranges(), core_ranges())
def test_ranges_sort_by_first_core_then_by_last(one: CoreRange, other: CoreRange) -> None:
    assert (one < other) == ((one.first, one.last) < (other.first, other.last))


@given(core_ranges(), st.integers(1, 256))
def test_split_is_a_partition_or_is_refused(cores: CoreRange, size: int) -> None:
    if len(cores) % size:
        with pytest.raises(UsageError, match="cannot split"):
            cores.split(size)
        return
    parts = cores.split(size)
    assert all(len(part) == size for part in parts)
    assert [core for part in parts for core in part] == list(cores)
