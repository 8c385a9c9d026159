"""Labels of a node: the ten of the specification, nodes that do not agree with themselves, and the extras."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.device import ComponentVersion, Device
from npu_core.machine import Machine
from npu_feature_discovery.labels.table import TABLE, Extra, Facts, Mixed, describe, labels_of, spec_of
from testkit.standins.nfd import is_qualified_name, is_value
from testkit.strategies import attribute_texts, devices
from tests.feature_discovery.facts import MACHINE, MACHINE_LABELS, node, rngd, short, warboy

UNKNOWN = {"npu.count": "0", "machine.vendor": "unknown", "machine.name": "unknown"}


def said(*cards: Device, mixed: Mixed = Mixed.JOIN, extras: object = ()) -> dict[str, str]:
    """The labels of a node with these cards, without their prefix."""
    return short(labels_of(node(*cards), mixed, extras))  # type: ignore[arg-type]  # a group or the class of all


# The specification


def test_the_ten_labels_of_the_specification_exactly() -> None:
    assert labels_of(node(warboy())) == {
        "beta.furiosa.ai/npu.count": "1",
        "beta.furiosa.ai/npu.product": "warboy",
        "beta.furiosa.ai/npu.family": "warboy",
        "beta.furiosa.ai/machine.vendor": "Dell-Inc",
        "beta.furiosa.ai/machine.name": "PowerEdge-R750",
        "beta.furiosa.ai/driver.version": "1.3.0",
        "beta.furiosa.ai/driver.version.major": "1",
        "beta.furiosa.ai/driver.version.minor": "3",
        "beta.furiosa.ai/driver.version.patch": "0",
        "beta.furiosa.ai/driver.reference": "57ac7b0",
    }
    assert {spec.key for spec in TABLE if spec.group is None} == set(labels_of(node(warboy())))


@pytest.mark.parametrize("product", ["warboyB0", "rngd", "rngd-s", "rngd_max", "brandNew"])
def test_a_product_nobody_has_heard_of_has_its_label(product: str) -> None:
    found = said(rngd(product=product))
    assert (found["npu.product"], found["npu.family"]) == (product, "renegade")


def test_every_card_counts_whatever_its_number_is() -> None:
    assert said(*map(warboy, range(64)))["npu.count"] == "64"
    assert said(warboy(1), warboy(6), warboy(10), rngd(10))["npu.count"] == "4"


def test_labels_come_in_key_order_whatever_the_order_of_the_cards() -> None:
    mixed = [warboy(0), warboy(1, "warboyB0"), rngd(0)]
    every = said(*mixed, extras=Extra)
    assert list(every) == sorted(every)
    assert list(every.items()) == list(said(*reversed(mixed), extras=Extra).items())


# No card, unknown things


@pytest.mark.parametrize("mixed", Mixed)
def test_a_node_without_cards_has_a_count_of_zero_and_the_machine(mixed: Mixed) -> None:
    assert said(mixed=mixed, extras=Extra) == {"npu.count": "0"} | MACHINE_LABELS


@pytest.mark.parametrize(
    ("machine", "known"),
    [
        (None, {}),
        (Machine(), {}),
        (Machine("", " "), {}),
        (Machine("삼성전자", "..."), {}),
        (Machine(None, "PowerEdge R750"), {"machine.name": "PowerEdge-R750"}),
    ],
)
def test_what_a_machine_does_not_say_of_itself_is_unknown(machine: Machine | None, known: dict[str, str]) -> None:
    assert short(labels_of(node(machine=machine))) == UNKNOWN | known


@pytest.mark.parametrize("extras", [(), Extra.__members__.values()])
def test_what_a_card_does_not_say_has_no_label(extras: object) -> None:
    found = said(warboy(product=None, driver=None, firmware=None), extras=extras)
    found.pop("npu.pe.count", None)
    assert found == {"npu.count": "1", "npu.family": "warboy"} | MACHINE_LABELS


@pytest.mark.parametrize("mixed", Mixed)
def test_a_card_that_does_not_say_leaves_the_word_to_the_others(mixed: Mixed) -> None:
    silent = warboy(1, product=None, driver=None, firmware=None)
    assert said(warboy(), silent, mixed=mixed) == said(warboy(), mixed=mixed) | {"npu.count": "2"}


@pytest.mark.parametrize("text", ["삼성", "...", "unknown"])
def test_a_product_that_no_label_can_say_has_none(text: str) -> None:
    found = said(warboy(product=text), extras={Extra.PRODUCT_COUNT})
    assert [key for key in found if key.startswith("npu.")] == ["npu.count", "npu.family"]
    assert said(warboy(product=text), warboy(1))["npu.product"] == "warboy"


# Versions


@pytest.mark.parametrize(
    ("text", "version", "numbers", "reference"),
    [
        ("1.9.2, 3def9c2", "1.9.2", "1 9 2", "3def9c2"),
        ("1.9.2", "1.9.2", "1 9 2", None),
        ("1.9.2,", "1.9.2", "1 9 2", None),
        ("10.20.30, 4dfed1852e7b", "10.20.30", "10 20 30", "4dfed1852e7b"),
        ("1.9", "1.9", "1 9", None),
        ("1", "1", "1", None),
        ("1.9.2-rc1, 3def9c2 dirty!", "1.9.2-rc1", "1 9 2", "3def9c2-dirty"),
        ("2025.4.0-dev2+0e9e56a", "2025.4.0-dev2-0e9e56a", "2025 4 0", None),
        ("1.9.2.77", "1.9.2.77", "1 9 2", None),
        ("unstable build", "unstable-build", "", None),
        ("v1.9.2", "v1.9.2", "", None),
        (", 3def9c2", None, "", "3def9c2"),
        ("", None, "", None),
        ("1.9.2-" + "x" * 80, "1.9.2-" + "x" * 57, "1 9 2", None),
    ],
)
def test_a_version_is_said_whole_and_in_the_parts_it_has(
    text: str, version: str | None, numbers: str, reference: str | None
) -> None:
    names = [f"driver.version.{part}" for part in ("major", "minor", "patch")]
    expected = {"driver.version": version, "driver.reference": reference}
    expected |= dict(zip(names, numbers.split(), strict=False))
    found = {key: value for key, value in said(warboy(driver=text)).items() if key.startswith("driver.")}
    assert found == {key: value for key, value in expected.items() if value is not None}


# Mixed nodes


def test_two_products_are_joined_in_order() -> None:
    found = said(warboy(0, "warboyB0"), warboy(1, "warboy"), warboy(2, "warboyB0"))
    assert (found["npu.count"], found["npu.product"], found["npu.family"]) == ("3", "warboy_warboyB0", "warboy")


def test_two_families_with_their_two_drivers_are_joined_in_order_or_left_out() -> None:
    assert said(warboy(), rngd()) == MACHINE_LABELS | {
        "npu.count": "2",
        "npu.product": "rngd_warboy",
        "npu.family": "renegade_warboy",
        "driver.version": "1.3.0_2026.1.0",
        "driver.reference": "3def9c2_57ac7b0",
    }
    assert said(warboy(), rngd(), mixed=Mixed.OMIT) == MACHINE_LABELS | {"npu.count": "2"}
    revisions = said(warboy(0), warboy(1, "warboyB0"), mixed=Mixed.OMIT)
    assert "npu.product" not in revisions
    assert revisions | {"npu.product": "warboy"} == said(warboy(0), warboy(1), mixed=Mixed.OMIT)


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        # A number has a label as far as all cards agree, and not by chance below numbers that differ.
        ("1.9.2, a", "1.9.8, a", {"version": "1.9.2_1.9.8", "major": "1", "minor": "9", "reference": "a"}),
        ("1.9.2", "2.9.2", {"version": "1.9.2_2.9.2"}),
        ("1.9.2", "unstable", {"version": "1.9.2_unstable"}),
    ],
)
def test_drivers_that_differ(first: str, second: str, labels: dict[str, str]) -> None:
    found = said(warboy(0, driver=first), warboy(1, driver=second))
    assert {key.rpartition(".")[2]: found[key] for key in found if key.startswith("driver.")} == labels


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("a" * 31, "b" * 31, f"{'a' * 31}_{'b' * 31}"),
        ("a" * 31, "b" * 32, None),  # never cut
        ("a_b", "c", None),  # it could be read in two ways
    ],
)
def test_what_cannot_be_joined_is_left_out(first: str, second: str, joined: str | None) -> None:
    assert said(warboy(0, first), warboy(1, second)).get("npu.product") == joined


# Extras

FIRMWARE = {
    "firmware.version": "1.6.0",
    "firmware.version.major": "1",
    "firmware.version.minor": "6",
    "firmware.version.patch": "0",
    "firmware.reference": "c1bebfd",
}


@pytest.mark.parametrize(
    ("extra", "cards", "more"),
    [
        (Extra.FIRMWARE, [warboy()], FIRMWARE),
        (
            Extra.PRODUCT_COUNT,
            [warboy(0), warboy(1, "warboyB0"), warboy(2, "warboyB0"), rngd(0), rngd(1, None)],
            {"npu.warboy.count": "1", "npu.warboyB0.count": "2", "npu.rngd.count": "1"},
        ),
        (Extra.PRODUCT_COUNT, [warboy(0, "war boy"), warboy(1, "war/boy")], {"npu.war-boy.count": "2"}),
        (Extra.PRODUCT_COUNT, [warboy(product="p" * 53)], {f"npu.{'p' * 53}.count": "1"}),
        (Extra.PRODUCT_COUNT, [warboy(product="p" * 54)], {}),  # too long for a key
        (Extra.PRODUCT_COUNT, [warboy(product="pe")], {}),  # that is the name of another label
        (Extra.PE_COUNT, [warboy(0), warboy(1, "pe"), rngd(0)], {"npu.pe.count": "12"}),
    ],
)
def test_an_extra_group_adds_its_labels_and_no_others(extra: Extra, cards: list[Device], more: dict[str, str]) -> None:
    assert said(*cards, extras={extra}) == said(*cards) | more
    assert said(*cards, extras=Extra).items() >= more.items()


# Where a label comes from


def test_each_label_says_which_files_it_comes_from() -> None:
    card, dmi = "/sys/class/npu_mgmt/npu*_mgmt", "/sys/class/dmi/id"
    numbers = [f"driver.version{part}" for part in ("", ".major", ".minor", ".patch")]
    origins = short({origin.key: origin.source for origin in describe(node(warboy()))})
    assert origins == dict.fromkeys([*numbers, "driver.reference"], f"{card}/version") | {
        "npu.count": card,
        "npu.product": f"{card}/device_type, {card}/soc_rev",
        "npu.family": card,
        "machine.vendor": f"{dmi}/sys_vendor",
        "machine.name": f"{dmi}/product_name",
    }
    (counted,) = (each for each in describe(node(warboy()), extras=Extra) if each.key.endswith("npu.warboy.count"))
    assert counted.source == origins["npu.product"]


def test_files_are_named_by_the_families_there_are_and_below_the_given_root() -> None:
    def source(*cards: Device) -> str:
        return next(origin.source for origin in describe(node(*cards), sysfs="/{host}/sys") if "count" in origin.key)

    warboys, rngds = "/{host}/sys/class/npu_mgmt/npu*_mgmt", "/{host}/sys/class/rngd_mgmt/rngd!npu*mgmt"
    assert source(warboy()) == warboys
    assert source(rngd()) == rngds
    assert source(warboy(), rngd()) == f"{rngds}, {warboys}"
    assert source() == f"{warboys}, {rngds}"


# Always


@st.composite
def any_cards(draw: st.DrawFn) -> Device:
    texts = st.none() | attribute_texts()
    versions = texts.map(lambda text: None if text is None else ComponentVersion.parse(text))
    return replace(draw(devices()), product=draw(texts), driver=draw(versions), firmware=draw(versions))


@given(
    st.lists(any_cards(), max_size=4),
    st.none() | st.builds(Machine, st.none() | attribute_texts(), st.none() | attribute_texts()),
    st.sampled_from(Mixed),
    st.sets(st.sampled_from(Extra)),
)
def test_every_key_and_value_is_valid_whatever_cards_and_machine_say(
    cards: list[Device], machine: Machine | None, mixed: Mixed, extras: set[Extra]
) -> None:
    facts = Facts(tuple(cards), machine)
    labels = labels_of(facts, mixed, extras)
    assert all(is_qualified_name(key) and key.startswith("beta.furiosa.ai/") for key in labels)
    assert all(value and is_value(value) for value in labels.values())
    assert list(labels) == sorted(labels)
    assert labels["beta.furiosa.ai/npu.count"] == str(len(cards))
    assert [(origin.key, origin.value) for origin in describe(facts, mixed, extras)] == list(labels.items())


@given(st.lists(any_cards(), min_size=1, max_size=4))
def test_omitting_only_ever_leaves_out(cards: list[Device]) -> None:
    facts = Facts(tuple(cards), MACHINE)
    assert labels_of(facts, Mixed.OMIT).items() <= labels_of(facts, Mixed.JOIN).items()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("beta.furiosa.ai/npu.count", "npu.count"),
        ("beta.furiosa.ai/npu.pe.count", "npu.pe.count"),
        ("beta.furiosa.ai/npu.warboyB0.count", "npu.<product>.count"),
        ("beta.furiosa.ai/machine.name", "machine.name"),
        ("beta.furiosa.ai/cards.count", None),
        ("beta.furiosa.ai/npu.warboyB0", None),
        ("beta.furiosa.ai/other", None),
        ("npu.count", None),
        ("npu.warboyB0.count", None),
        ("example.com/npu.count", None),
    ],
)
def test_a_key_of_ours_is_known_by_its_row(key: str, name: str | None) -> None:
    row = spec_of(key)
    assert (row and row.name) == name


def test_these_are_the_words_of_the_settings() -> None:
    assert [mixed.value for mixed in Mixed] == ["join", "omit"]
    assert [extra.value for extra in Extra] == ["firmware", "product-count", "pe-count"]
