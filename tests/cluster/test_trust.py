"""The certificates of a node, without a node: of the sort that only a lenient client accepts."""

import subprocess
from pathlib import Path

import pytest

from tools.cluster import settings, trust
from tools.cluster.programs import program


@pytest.mark.parametrize(("check", "accepted"), [([], True), (["-x509_strict"], False)])
def test_the_certificates_are_valid_and_not_what_the_strict_check_wants(
    tmp_path: Path, check: list[str], *, accepted: bool
) -> None:
    trust.write(tmp_path, settings.NAMES)
    command = [program("openssl"), "verify", *check, "-CAfile", "ca.crt", "api.crt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) is accepted, done.stderr
