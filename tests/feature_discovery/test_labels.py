"""Labels of a node: the ten of the specification, nodes that do not agree with themselves, and the extras."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import ComponentVersion, Device
from npu_core.machine import Machine
from npu_feature_discovery.labels import TABLE, Extra, Facts, Mixed, describe, labels_of, spec_of
from testkit.standins.nfd import is_qualified_name, is_value
from testkit.strategies import attribute_texts, devices
from tests.feature_discovery.facts import MACHINE, MACHINE_LABELS, node, rngd, short, version, warboy

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


def test_the_table_without_extras_is_the_specification() -> None:
    assert {spec.key for spec in TABLE if spec.group is None} == set(labels_of(node(warboy())))


def test_the_other_product_and_the_other_family() -> None:
    assert short(labels_of(node(warboy(product="warboyB0"))))["npu.product"] == "warboyB0"
    found = short(labels_of(node(rngd())))
    assert (found["npu.product"], found["npu.family"]) == ("rngd", "renegade")


@pytest.mark.parametrize("product", ["rngd-s", "rngd-max", "rngd_s", "rngd_max", "warboyC1", "brandNew"])
def test_a_product_nobody_has_heard_of_has_its_label(product: str) -> None:
    assert short(labels_of(node(rngd(product=product))))["npu.product"] == product


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 64])
def test_every_card_counts(count: int) -> None:
    assert short(labels_of(node(*map(warboy, range(count)))))["npu.count"] == str(count)


def test_cards_count_whatever_their_numbers_are() -> None:
    assert short(labels_of(node(warboy(1), warboy(6), warboy(10), rngd(10))))["npu.count"] == "4"


def test_labels_come_in_key_order_whatever_the_order_of_the_cards() -> None:
    mixed = [warboy(0), warboy(1, "warboyB0"), rngd(0)]
    every = labels_of(node(*mixed), extras=Extra)
    assert list(every) == sorted(every)
    assert list(every.items()) == list(labels_of(node(*reversed(mixed)), extras=Extra).items())


# No card, unknown things


@pytest.mark.parametrize("mixed", Mixed)
def test_a_node_without_cards_has_a_count_of_zero_and_the_machine(mixed: Mixed) -> None:
    assert short(labels_of(node(), mixed, Extra)) == {"npu.count": "0"} | MACHINE_LABELS


@pytest.mark.parametrize("machine", [None, Machine(), Machine("", " "), Machine("삼성전자", "...")])
def test_a_machine_that_says_nothing_of_itself_is_unknown(machine: Machine | None) -> None:
    found = short(labels_of(node(machine=machine)))
    assert found == {"npu.count": "0", "machine.vendor": "unknown", "machine.name": "unknown"}


def test_half_a_machine_is_half_known() -> None:
    found = short(labels_of(node(machine=Machine(None, "PowerEdge R750"))))
    assert (found["machine.vendor"], found["machine.name"]) == ("unknown", "PowerEdge-R750")


def test_what_a_card_does_not_say_has_no_label() -> None:
    silent = warboy(product=None, driver=None, firmware=None)
    expected = {"npu.count": "1", "npu.family": "warboy"} | MACHINE_LABELS
    assert short(labels_of(node(silent))) == expected
    assert short(labels_of(node(silent), extras={Extra.FIRMWARE, Extra.PRODUCT_COUNT})) == expected


@pytest.mark.parametrize("mixed", Mixed)
def test_a_card_that_does_not_say_leaves_the_word_to_the_others(mixed: Mixed) -> None:
    silent = warboy(1, product=None, driver=None, firmware=None)
    both, alone = (short(labels_of(node(*cards), mixed)) for cards in ([warboy(), silent], [warboy()]))
    assert both == alone | {"npu.count": "2"}


@pytest.mark.parametrize("text", ["삼성", "...", "unknown"])
def test_a_product_that_no_label_can_say_has_none(text: str) -> None:
    found = short(labels_of(node(warboy(product=text)), extras={Extra.PRODUCT_COUNT}))
    assert [key for key in found if key.startswith("npu.")] == ["npu.count", "npu.family"]
    assert short(labels_of(node(warboy(product=text), warboy(1))))["npu.product"] == "warboy"


# Versions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.9.2, 3def9c2", {"": "1.9.2", ".major": "1", ".minor": "9", ".patch": "2"}),
        ("1.9.2", {"": "1.9.2", ".major": "1", ".minor": "9", ".patch": "2"}),
        ("10.20.30", {"": "10.20.30", ".major": "10", ".minor": "20", ".patch": "30"}),
        ("1.9", {"": "1.9", ".major": "1", ".minor": "9"}),
        ("1", {"": "1", ".major": "1"}),
        ("1.9.2-rc1", {"": "1.9.2-rc1", ".major": "1", ".minor": "9", ".patch": "2"}),
        ("2025.4.0-dev2+0e9e56a", {"": "2025.4.0-dev2-0e9e56a", ".major": "2025", ".minor": "4", ".patch": "0"}),
        ("1.9.2.77", {"": "1.9.2.77", ".major": "1", ".minor": "9", ".patch": "2"}),
        ("unstable build", {"": "unstable-build"}),
        ("v1.9.2", {"": "v1.9.2"}),
        (", 3def9c2", {}),
        ("", {}),
        ("1.9.2-" + "x" * 80, {"": "1.9.2-" + "x" * 57, ".major": "1", ".minor": "9", ".patch": "2"}),
    ],
)
def test_a_version_is_said_whole_and_in_the_parts_it_has(text: str, expected: dict[str, str]) -> None:
    found = short(labels_of(node(warboy(driver=text))))
    told = {key.removeprefix("driver.version"): found[key] for key in found if key.startswith("driver.version")}
    assert told == expected


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("1.9.2, 3def9c2", "3def9c2"),
        ("1.7.0, 4dfed1852e7b", "4dfed1852e7b"),
        (", 3def9c2", "3def9c2"),
        ("1.9.2, 3def9c2 dirty!", "3def9c2-dirty"),
        ("1.9.2", None),
        ("1.9.2,", None),
        ("2025.4.0-dev2+0e9e56a", None),
    ],
)
def test_the_reference_is_what_follows_the_comma(text: str, reference: str | None) -> None:
    assert short(labels_of(node(warboy(driver=text)))).get("driver.reference") == reference


# Mixed nodes


def test_two_products_are_joined_in_order() -> None:
    found = short(labels_of(node(warboy(0, "warboyB0"), warboy(1, "warboy"), warboy(2, "warboyB0"))))
    assert (found["npu.count"], found["npu.product"], found["npu.family"]) == ("3", "warboy_warboyB0", "warboy")


def test_two_families_with_their_two_drivers_are_joined_in_order() -> None:
    assert short(labels_of(node(warboy(), rngd()))) == MACHINE_LABELS | {
        "npu.count": "2",
        "npu.product": "rngd_warboy",
        "npu.family": "renegade_warboy",
        "driver.version": "1.3.0_2026.1.0",
        "driver.reference": "3def9c2_57ac7b0",
    }


def test_what_differs_is_left_out_if_asked_for() -> None:
    assert short(labels_of(node(warboy(), rngd()), Mixed.OMIT)) == MACHINE_LABELS | {"npu.count": "2"}
    revisions = short(labels_of(node(warboy(0), warboy(1, "warboyB0")), Mixed.OMIT))
    assert revisions | {"npu.product": "warboy"} == short(labels_of(node(warboy(0), warboy(1)), Mixed.OMIT))
    assert "npu.product" not in revisions


def test_a_number_of_a_version_has_a_label_as_far_as_all_cards_agree() -> None:
    found = short(labels_of(node(warboy(0, driver="1.9.2, a"), warboy(1, driver="1.9.8, a"))))
    assert found["driver.version"] == "1.9.2_1.9.8"
    assert (found["driver.version.major"], found["driver.version.minor"]) == ("1", "9")
    assert "driver.version.patch" not in found
    assert found["driver.reference"] == "a"


def test_numbers_that_agree_by_chance_below_ones_that_differ_have_no_label() -> None:
    found = short(labels_of(node(warboy(driver="1.9.2"), rngd(driver="2.9.2"))))
    assert [key for key in found if key.startswith("driver.version")] == ["driver.version"]


def test_a_version_without_numbers_takes_them_from_all() -> None:
    found = short(labels_of(node(warboy(0, driver="1.9.2"), warboy(1, driver="unstable"))))
    assert {key: found[key] for key in found if key.startswith("driver.")} == {"driver.version": "1.9.2_unstable"}


@pytest.mark.parametrize(("length", "is_kept"), [(31, True), (32, False)])
def test_what_is_too_long_joined_is_left_out_and_never_cut(length: int, *, is_kept: bool) -> None:
    first, second = "a" * 31, "b" * length
    found = short(labels_of(node(warboy(0, first), warboy(1, second))))
    assert found.get("npu.product") == (f"{first}_{second}" if is_kept else None)


def test_what_could_be_read_in_two_ways_is_left_out() -> None:
    assert "npu.product" not in short(labels_of(node(warboy(0, "a_b"), warboy(1, "c"))))


# Extras


def test_no_extra_label_is_there_unless_asked_for() -> None:
    every = labels_of(node(warboy(), rngd()), extras=Extra)
    assert labels_of(node(warboy(), rngd())).items() < every.items()


def test_firmware_is_said_as_the_driver_is() -> None:
    base, found = (short(labels_of(node(warboy()), extras=extras)) for extras in ((), {Extra.FIRMWARE}))
    assert found == base | {
        "firmware.version": "1.6.0",
        "firmware.version.major": "1",
        "firmware.version.minor": "6",
        "firmware.version.patch": "0",
        "firmware.reference": "c1bebfd",
    }


def test_cards_are_counted_by_product() -> None:
    cards = [warboy(0), warboy(1, "warboyB0"), warboy(2, "warboyB0"), rngd(0), rngd(1, None)]
    base, found = (short(labels_of(node(*cards), extras=extras)) for extras in ((), {Extra.PRODUCT_COUNT}))
    assert found == base | {"npu.warboy.count": "1", "npu.warboyB0.count": "2", "npu.rngd.count": "1"}


def test_products_that_one_key_means_are_counted_together() -> None:
    found = short(labels_of(node(warboy(0, "war boy"), warboy(1, "war/boy")), extras={Extra.PRODUCT_COUNT}))
    assert found["npu.war-boy.count"] == "2"


def test_a_product_is_never_counted_under_the_name_of_another_label() -> None:
    found = short(labels_of(node(warboy(product="pe")), extras={Extra.PRODUCT_COUNT}))
    assert "npu.pe.count" not in found
    assert short(labels_of(node(warboy(product="pe")), extras=Extra))["npu.pe.count"] == "2"


@pytest.mark.parametrize(("length", "is_counted"), [(53, True), (54, False)])
def test_a_product_too_long_for_a_key_is_not_counted(length: int, *, is_counted: bool) -> None:
    found = short(labels_of(node(warboy(product="p" * length)), extras={Extra.PRODUCT_COUNT}))
    assert (f"npu.{'p' * length}.count" in found) is is_counted


def test_processing_elements_of_all_cards_are_summed() -> None:
    found = short(labels_of(node(warboy(0), warboy(1), rngd(0)), extras={Extra.PE_COUNT}))
    assert found["npu.pe.count"] == "12"


# Where a label comes from


def test_each_label_says_which_files_it_comes_from() -> None:
    origins = {origin.key: origin for origin in describe(node(warboy()))}
    assert {key: origin.value for key, origin in origins.items()} == labels_of(node(warboy()))
    assert {origin.key.removeprefix("beta.furiosa.ai/"): origin.source for origin in origins.values()} == {
        "npu.count": "/sys/class/npu_mgmt/npu*_mgmt",
        "npu.product": "/sys/class/npu_mgmt/npu*_mgmt/device_type, /sys/class/npu_mgmt/npu*_mgmt/soc_rev",
        "npu.family": "/sys/class/npu_mgmt/npu*_mgmt",
        "machine.vendor": "/sys/class/dmi/id/sys_vendor",
        "machine.name": "/sys/class/dmi/id/product_name",
        "driver.version": "/sys/class/npu_mgmt/npu*_mgmt/version",
        "driver.version.major": "/sys/class/npu_mgmt/npu*_mgmt/version",
        "driver.version.minor": "/sys/class/npu_mgmt/npu*_mgmt/version",
        "driver.version.patch": "/sys/class/npu_mgmt/npu*_mgmt/version",
        "driver.reference": "/sys/class/npu_mgmt/npu*_mgmt/version",
    }


def test_files_are_named_by_the_families_there_are_and_below_the_given_root() -> None:
    def source(*cards: Device) -> str:
        return next(origin.source for origin in describe(node(*cards), sysfs="/{host}/sys") if "count" in origin.key)

    warboys, rngds = "/{host}/sys/class/npu_mgmt/npu*_mgmt", "/{host}/sys/class/rngd_mgmt/rngd!npu*mgmt"
    assert source(warboy()) == warboys
    assert source(rngd()) == rngds
    assert source(warboy(), rngd()) == f"{rngds}, {warboys}"
    assert source() == f"{warboys}, {rngds}"


def test_extra_labels_are_described_too() -> None:
    origins = describe(node(warboy()), extras=Extra)
    assert {origin.key: origin.value for origin in origins} == labels_of(node(warboy()), extras=Extra)
    assert [origin.source for origin in origins if origin.key.endswith("npu.warboy.count")] == [
        "/sys/class/npu_mgmt/npu*_mgmt/device_type, /sys/class/npu_mgmt/npu*_mgmt/soc_rev"
    ]


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


def test_the_family_alone_is_always_known() -> None:
    assert short(labels_of(Facts((Device(0, Arch.WARBOY, driver=version(None)),))))["npu.family"] == "warboy"


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
