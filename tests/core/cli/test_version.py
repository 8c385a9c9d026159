"""The versions of the library and of the drivers: ``npuctl version``."""

import json
from pathlib import Path

from npu_core import __version__
from npu_core.testing import FakeHost, rngd, warboy
from tests.core.cli.program import Npuctl


def test_the_library_and_every_driver_are_named(tmp_path: Path, program: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1), warboy(2, driver="1.10.0"), rngd(0, driver=""))
    assert program(host, "version").stdout.splitlines() == [
        f"npu-core {__version__}",
        "FuriosaAI Warboy driver 1.9.2, 3def9c2 (npu0, npu1)",
        "FuriosaAI Warboy driver 1.10.0 (npu2)",
        "FuriosaAI RNGD driver of unknown version (npu0)",
    ]


def test_machines_get_the_drivers_as_values(tmp_path: Path, npuctl: Npuctl) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1, driver=""))
    family = {"arch": "warboy", "name": "FuriosaAI Warboy"}
    assert json.loads(npuctl(host, "version", "-o", "json").stdout) == {
        "npu_core": __version__,
        "drivers": [
            {**family, "version": "1.9.2", "reference": "3def9c2", "npus": ["npu0"]},
            {**family, "version": None, "reference": None, "npus": ["npu1"]},
        ],
    }


def test_the_librarys_version_is_given_even_where_the_host_cannot_be_read(tmp_path: Path, npuctl: Npuctl) -> None:
    missing = str(tmp_path / "missing")
    answer = npuctl(FakeHost(tmp_path / "host"), "version", "-o", "json", "--sysfs", missing)
    assert json.loads(answer.stdout) == {"npu_core": __version__, "drivers": None}
    assert answer.returncode == 1
    assert missing in answer.stderr
    assert npuctl(FakeHost(tmp_path / "host"), "version").stdout == f"npu-core {__version__}\n"
