"""A process without OpenSSL: what else it does is as it was, whatever Python it runs on."""

import subprocess
import sys

import pytest

from testkit.waiting import PATIENCE

SHA2 = ("_sha2", "_sha256", "_sha512")  # by Python's version
LEAVES_IT_OUT = """\
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
from npu_core.service.openssl import leave_out_openssl
leave_out_openssl()
import asyncio, hashlib, hmac, random, secrets, tempfile, uuid
md5 = hashlib.md5(b"", usedforsecurity=False)
print(hashlib.sha256(b"").hexdigest(), md5.hexdigest(), random.Random("seed").random())
print(*sorted(name for name in ("ssl", "_ssl", "_hashlib") if sys.modules.get(name)))
"""


def _without(*modules: str) -> tuple[str, str]:
    """The digests, and what there is of OpenSSL, on a Python without these modules; nothing is complained about."""
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES_IT_OUT, *modules], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert ended.stderr == ""
    digests, openssl = ended.stdout.splitlines()
    return digests, openssl


def test_digests_are_pythons_own() -> None:
    assert _without()[1] == ""


@pytest.mark.parametrize("lacking", [("_md5", "_sha1", *SHA2, "_sha3"), ("_md5",), SHA2], ids=["all", "md5", "sha2"])
def test_a_python_that_has_digests_from_openssl_alone_keeps_them(lacking: tuple[str, ...]) -> None:
    """As some distributions build it, so that all digests are those of a certified library."""
    assert _without(*lacking) == (_without()[0], "_hashlib")
