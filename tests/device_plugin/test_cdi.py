"""The files in which container runtimes look units up."""

import json
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.health import HEALTHY
from npu_core.partition import FUSION, SINGLE, Partitioning
from npu_device_plugin.allocation.grants import grant
from npu_device_plugin.allocation.inventory import Fleet
from npu_device_plugin.allocation.resource_state import Offer, offers
from npu_device_plugin.cdi import SpecDirectory, device_name, spec_texts
from tests.device_plugin.cards import rngd_card, warboy_card

WARBOY_FILE = "furiosa-npu-device-plugin-warboy.json"
RNGD_FILE = "furiosa-npu-device-plugin-renegade.json"

# One of a card's two units, to the letter: what a runtime is told is an interface.
EXPECTED = """\
{
  "cdiVersion": "0.5.0",
  "kind": "furiosa.ai/warboy",
  "devices": [
    {
      "name": "npu0pe0",
      "containerEdits": {
        "deviceNodes": [
          {
            "path": "/dev/npu0_mgmt",
            "permissions": "rw"
          },
          {
            "path": "/dev/npu0pe0",
            "permissions": "rw"
          }
        ]
      }
    },
    {
      "name": "npu0pe1",
      "containerEdits": {
        "deviceNodes": [
          {
            "path": "/dev/npu0_mgmt",
            "permissions": "rw"
          }
        ]
      }
    }
  ]
}
"""


def offers_of(policy: Partitioning, *cards: Device) -> tuple[Offer, ...]:
    fleet = Fleet().with_devices(cards)
    for card in cards:
        fleet = fleet.with_look(card.key, HEALTHY, 0.0)
    return offers(fleet, policy)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "cdi"


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# -- what they say ----------------------------------------------------------------------------------------------------


def test_a_file_is_to_the_letter() -> None:
    card = warboy_card(0, without=("", "pe1", "pe0-1", "ch0", "ch1", "ch2", "ch3"))
    assert spec_texts(offers_of(SINGLE, card)) == {WARBOY_FILE: EXPECTED}


def test_each_family_has_a_file_and_every_unit_stands_in_its_own() -> None:
    found = offers_of(Partitioning(4), warboy_card(0), warboy_card(1), rngd_card(0))
    documents = {name: json.loads(text) for name, text in spec_texts(found).items()}
    assert {
        name: (document["kind"], [device["name"] for device in document["devices"]])
        for name, document in documents.items()
    } == {
        WARBOY_FILE: ("furiosa.ai/warboy", ["npu0pe0-1", "npu1pe0-1"]),
        RNGD_FILE: ("furiosa.ai/renegade", ["npu0pe0-3", "npu0pe4-7"]),
    }


def test_a_name_gives_the_files_that_a_container_gets_one_by_one() -> None:
    [offer] = offers_of(SINGLE, rngd_card(3))
    [text] = spec_texts([offer]).values()
    document = json.loads(text)
    looked_up = {
        f"{document['kind']}={device['name']}": tuple(node["path"] for node in device["containerEdits"]["deviceNodes"])
        for device in document["devices"]
    }
    assert looked_up == {
        device_name(Arch.RENEGADE, offered.unit.id): grant([offered.unit]).paths for offered in offer.units
    }


def test_a_unit_without_a_file_left_is_left_out_since_runtimes_would_refuse_all_of_it() -> None:
    suffixes = ("", "_mgmt", "pe0", "pe1", "pe0-1", "ch0", "ch1", "ch2", "ch3")
    bare = warboy_card(0, without=suffixes)
    [text] = spec_texts(offers_of(FUSION, bare, warboy_card(1))).values()
    assert [device["name"] for device in json.loads(text)["devices"]] == ["npu1pe0-1"]
    assert spec_texts(offers_of(FUSION, bare)) == {}


# -- how they are written ---------------------------------------------------------------------------------------------


def test_the_directory_is_made_and_everybody_can_read_the_files(directory: Path) -> None:
    SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    file = directory / WARBOY_FILE
    assert (file.read_text(), file.stat().st_mode & 0o777) == (EXPECTED, 0o644)
    assert names(directory) == {WARBOY_FILE}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_the_process_forbids_by_default_makes_no_difference_to_a_file(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    finally:
        os.umask(before)
    assert (directory / WARBOY_FILE).stat().st_mode & 0o777 == 0o644
    assert directory.stat().st_mode & 0o777 == 0o755 & ~umask


def test_what_did_not_change_is_not_written_again(directory: Path) -> None:
    specs = SpecDirectory(str(directory))
    specs.write({WARBOY_FILE: "1", RNGD_FILE: "1"})
    before = {name: (directory / name).stat() for name in names(directory)}
    specs.write({WARBOY_FILE: "1", RNGD_FILE: "2"})
    after = {name: (directory / name).stat() for name in names(directory)}
    assert after[WARBOY_FILE] == before[WARBOY_FILE]
    assert after[RNGD_FILE].st_ino != before[RNGD_FILE].st_ino


def test_nothing_is_written_through_a_link_under_the_name_of_a_file_that_is_not_whole_yet(
    directory: Path, tmp_path: Path
) -> None:
    """In a container every instance has process id 1, so that a name by the process id can be known before."""
    other = tmp_path / "other"
    other.write_text("another program's\n", encoding="utf-8")
    directory.mkdir(parents=True)
    (directory / f".{WARBOY_FILE}.{os.getpid()}").symlink_to(other)
    SpecDirectory(str(directory)).write(spec_texts(offers_of(FUSION, warboy_card(0))))
    assert other.read_text(encoding="utf-8") == "another program's\n"
    assert names(directory) == {WARBOY_FILE}


def test_a_write_that_fails_leaves_no_file_behind(directory: Path) -> None:
    (directory / WARBOY_FILE).mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            SpecDirectory(str(directory)).write(spec_texts(offers_of(FUSION, warboy_card(0))))
    assert names(directory) == {WARBOY_FILE}


def test_a_file_that_somebody_removed_is_written_again(directory: Path) -> None:
    specs = SpecDirectory(str(directory))
    specs.write({WARBOY_FILE: "1"})
    (directory / WARBOY_FILE).unlink()
    specs.write({WARBOY_FILE: "1"})
    assert (directory / WARBOY_FILE).read_text() == "1"


@pytest.mark.parametrize("text", ["", "{}", EXPECTED + " ", EXPECTED.replace("npu", "gpu")])
def test_a_file_that_somebody_overwrote_is_written_again(directory: Path, text: str) -> None:
    specs = SpecDirectory(str(directory))
    specs.write({WARBOY_FILE: EXPECTED})
    (directory / WARBOY_FILE).write_text(text)
    specs.write({WARBOY_FILE: EXPECTED})
    assert (directory / WARBOY_FILE).read_text() == EXPECTED
    other = directory / "other"
    other.write_text(text)
    other.replace(directory / WARBOY_FILE)
    specs.write({WARBOY_FILE: EXPECTED})
    assert (directory / WARBOY_FILE).read_text() == EXPECTED


@pytest.mark.parametrize("is_held_open", [False, True], ids=["nobody writes", "somebody could write"])
def test_a_pipe_in_the_place_of_a_file_is_replaced_and_not_waited_for(
    directory: Path, request: pytest.FixtureRequest, *, is_held_open: bool
) -> None:
    directory.mkdir(parents=True)
    os.mkfifo(directory / WARBOY_FILE)
    if is_held_open:
        request.addfinalizer(partial(os.close, os.open(directory / WARBOY_FILE, os.O_RDWR)))
    SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    assert (directory / WARBOY_FILE).read_text() == EXPECTED


def test_a_link_to_a_file_alike_is_replaced(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "alike").write_text(EXPECTED)
    directory.mkdir(parents=True)
    (directory / WARBOY_FILE).symlink_to(tmp_path / "alike")
    SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    assert not (directory / WARBOY_FILE).is_symlink()


def test_a_file_that_another_instance_wrote_alike_is_left_alone(directory: Path) -> None:
    """Two instances would otherwise write in turn for as long as both run."""
    SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    before = (directory / WARBOY_FILE).stat().st_ino
    SpecDirectory(str(directory)).write({WARBOY_FILE: EXPECTED})
    assert (directory / WARBOY_FILE).stat().st_ino == before


def test_what_of_ours_nobody_needs_is_removed_and_nothing_else(directory: Path) -> None:
    directory.mkdir(parents=True)
    others = {"nvidia.yaml", "furiosa.json", "furiosa-npu.json", "x-" + WARBOY_FILE, "X" + RNGD_FILE, ".other.tmp"}
    orphans = {RNGD_FILE, "furiosa-npu-device-plugin-gone.json", f".{WARBOY_FILE}.12345"}
    for name in others | orphans:
        (directory / name).write_text(name)

    SpecDirectory(str(directory)).write({WARBOY_FILE: "1"})

    assert names(directory) == others | {WARBOY_FILE}
    assert all((directory / name).read_text() == name for name in others)


def test_a_file_that_went_and_was_brought_back_by_somebody_else_is_written_anew(directory: Path) -> None:
    specs = SpecDirectory(str(directory))
    specs.write({WARBOY_FILE: "1", RNGD_FILE: "1"})
    specs.write({WARBOY_FILE: "1"})
    (directory / RNGD_FILE).write_text("stale")
    specs.write({WARBOY_FILE: "1", RNGD_FILE: "1"})
    assert (directory / RNGD_FILE).read_text() == "1"


def test_all_of_ours_is_removed_and_whether_there_was_any_is_told(directory: Path) -> None:
    specs = SpecDirectory(str(directory))
    specs.write({WARBOY_FILE: "1", RNGD_FILE: "1"})
    (directory / "nvidia.yaml").write_text("")
    assert [specs.clear(), specs.clear()] == [True, False]
    assert names(directory) == {"nvidia.yaml"}


@pytest.mark.parametrize("where", ["nothing", "file", "file/below"])
def test_where_no_directory_is_there_is_nothing_of_ours(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    assert SpecDirectory(str(tmp_path / where)).clear() is False
    assert names(tmp_path) == {"file"}


def test_a_reader_never_sees_half_a_file(directory: Path) -> None:
    specs = SpecDirectory(str(directory))
    texts = [json.dumps(["x" * length] * 5000) for length in (1, 2)]
    specs.write({WARBOY_FILE: texts[0]})
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.update(path.read_text() for path in directory.glob("*.json"))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(100):
        specs.write({WARBOY_FILE: texts[turn % 2]})
    done.set()
    reader.join()

    assert seen
    assert seen <= set(texts)


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_directory_that_cannot_be_had_is_an_error_and_works_once_it_can(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    specs = SpecDirectory(str(tmp_path / where))
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        specs.write({WARBOY_FILE: "1"})
    (tmp_path / "file").unlink()
    specs.write({WARBOY_FILE: "1"})
    assert names(tmp_path / where) == {WARBOY_FILE}
