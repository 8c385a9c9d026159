"""The table of architectures: consistent in itself, and equal to what the vendor's drivers do."""

import dataclasses

import pytest

from npu_core.arch import ARCH_SPECS, AliveRule, Arch, ArchSpec, CountersFile, arch_spec, spec_of_type
from npu_core.cores import CoreRange

WARBOY = arch_spec(Arch.WARBOY)
RENEGADE = arch_spec(Arch.RENEGADE)

every_family = pytest.mark.parametrize("spec", list(ARCH_SPECS.values()), ids=str)


def test_every_family_has_its_row() -> None:
    assert list(ARCH_SPECS) == list(Arch)
    assert all(spec.arch is arch for arch, spec in ARCH_SPECS.items())


@every_family
def test_a_row_is_consistent_in_itself(spec: ArchSpec) -> None:
    assert len(set(spec.fused_ranges)) == len(spec.fused_ranges)
    assert all(len(cores) > 1 and spec.cores.encloses(cores) for cores in spec.fused_ranges)
    assert spec.core_files == (*spec.cores.split(1), *spec.fused_ranges)
    assert spec.unit_sizes == tuple(sorted(set(spec.unit_sizes)))
    assert all(spec.has_file_for(part) for size in spec.unit_sizes for part in spec.cores.split(size))
    assert len(set(spec.granted_suffixes)) == len(spec.granted_suffixes)
    assert not any(suffix.startswith("pe") for suffix in spec.granted_suffixes)
    assert {spec.mgmt_suffix, *(f"ch{number}" for number in range(spec.channel_count))} <= set(spec.granted_suffixes)
    assert f"ch{spec.channel_count}" not in spec.granted_suffixes


def test_families_are_told_apart_by_everything_that_identifies_them() -> None:
    rows = list(ARCH_SPECS.values())
    for field in ("vendor_name", "pci_id", "sysfs_class", "device_dir"):
        assert len({getattr(spec, field) for spec in rows}) == len(rows), field
    names = [name for spec in rows for name in spec.device_types]
    assert not any(one != other and one.startswith(other) for one in names for other in names)


def test_a_card_is_not_cut_into_ranges_of_which_only_some_have_a_file() -> None:
    spec = dataclasses.replace(
        RENEGADE, fused_ranges=(CoreRange(0, 1), CoreRange(2, 3), CoreRange(0, 3), CoreRange(4, 7))
    )
    assert spec.unit_sizes == (1, 4)


def test_rules_are_called_by_the_attributes_that_are_read() -> None:
    assert [rule.value for rule in AliveRule] == ["alive", "device_state"]
    assert [file.value for file in CountersFile] == ["perf_regs", "metrics"]


def test_warboy_is_as_the_vendor_documents_it() -> None:
    assert WARBOY.vendor_name == "FuriosaAI Warboy"
    assert WARBOY.pe_count == 2
    assert [str(cores) for cores in WARBOY.core_files] == ["0", "1", "0-1"]
    assert WARBOY.unit_sizes == (1, 2)
    assert WARBOY.pci_id == "1ed2:0000"
    assert (WARBOY.device_dir, WARBOY.sysfs_class) == ("", "npu_mgmt")
    assert WARBOY.mgmt_name(3) == "npu3_mgmt"
    assert WARBOY.sysfs_name("npu0pe0-1") == "npu0pe0-1"
    assert WARBOY.granted_suffixes == ("_mgmt", "ch0", "ch1", "ch2", "ch3")
    assert WARBOY.alive_rule is AliveRule.ALIVE_FILE
    assert WARBOY.counters_file is CountersFile.PERF_REGS
    assert WARBOY.power_label == "PCI Total RMS PWR"
    assert WARBOY.temperature_labels == ("Average", "Peak")


def test_rngd_is_as_the_vendor_documents_it() -> None:
    assert RENEGADE.vendor_name == "FuriosaAI RNGD"
    assert RENEGADE.pe_count == 8
    fused = ["0-1", "2-3", "4-5", "6-7", "0-3", "4-7"]
    assert [str(cores) for cores in RENEGADE.core_files] == [*"01234567", *fused]
    assert RENEGADE.unit_sizes == (1, 2, 4)
    assert RENEGADE.pci_id == "1ed2:0001"
    assert (RENEGADE.device_dir, RENEGADE.sysfs_class) == ("rngd", "rngd_mgmt")
    assert RENEGADE.mgmt_name(3) == "rngd!npu3mgmt"
    assert RENEGADE.sysfs_name("npu0pe0") == "rngd!npu0pe0"
    assert RENEGADE.alive_rule is AliveRule.DEVICE_STATE
    assert RENEGADE.counters_file is CountersFile.METRICS
    assert RENEGADE.power_label == "RMS_TOTAL"
    assert RENEGADE.temperature_labels == ("PEAK", "AMBIENT")


def test_an_rngd_container_is_granted_the_35_files_of_the_documentation_at_most() -> None:
    channels = [f"ch{number}" for number in range(8)]
    remote = [f"ch{number}r" for number in range(8)]
    assert RENEGADE.granted_suffixes == ("mgmt", *channels, *remote, "dmar", "bar0", "bar2", "bar4")
    assert len(RENEGADE.granted_suffixes) + len(RENEGADE.core_files) == 35


@pytest.mark.parametrize(
    ("device_type", "expected"),
    [
        ("Warboy", WARBOY),
        ("warboyB0", WARBOY),
        ("WARBOY\n", WARBOY),
        (" Warboy", WARBOY),
        ("RNGD", RENEGADE),
        ("RNGD-Max", RENEGADE),
        ("rngd-s", RENEGADE),
        ("Renegade", RENEGADE),
        ("U250", None),
        ("", None),
        ("xWarboy", None),
    ],
)
def test_a_card_names_its_family_by_the_beginning_of_its_type(device_type: str, expected: ArchSpec | None) -> None:
    assert spec_of_type(device_type) is expected
