"""What an error of the operating system means: the path, the setting, and what to do."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from npu_core import os_errors
from npu_core.os_errors import explain


def failed(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", sorted(os_errors._ADVICE))
def test_every_sentence_has_the_path_the_setting_the_error_and_advice(code: int) -> None:
    text = explain(failed(code), "/x/y", setting="--plugin-dir", purpose="a socket")
    assert text.startswith(f"/x/y (--plugin-dir): {errno.errorcode[code]} ({os.strerror(code)}), for a socket: ")
    assert text.endswith(os_errors._ADVICE[code])


def test_an_error_without_advice_or_number_is_told_as_it_is() -> None:
    assert explain(failed(errno.EIO), "/x") == "/x: EIO (Input/output error)"
    assert explain(OSError("odd"), "/x") == "/x: odd"


def test_an_address_has_no_mode() -> None:
    assert explain(failed(errno.EACCES), "127.0.0.1:80") == "127.0.0.1:80: EACCES (Permission denied)"


def test_where_the_modes_allow_it_a_security_module_refuses(tmp_path: Path) -> None:
    assert "SELinux" in explain(failed(errno.EACCES), str(tmp_path), wants=os.W_OK)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become somebody else")
def test_the_mode_that_refuses_is_named(tmp_path: Path) -> None:
    """As another user, who can read Python itself and nothing that its modes keep from others."""
    shut = tmp_path / "shut"
    (shut / "inside").mkdir(parents=True)
    for parent in [*tmp_path.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    shut.chmod(0o700)
    script = (
        "import os; from npu_core.os_errors import explain, _overrides_modes;"
        "os.setgroups([]); os.setresgid(64999, 64999, 64999); os.setresuid(64999, 64999, 64999);"
        f"print(explain(PermissionError(13, 'Permission denied'), {str(shut / 'inside')!r}))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == (
        f"{shut}/inside: EACCES (Permission denied): {shut} has mode 0700 and owner 0, which refuse user 64999\n"
    )
