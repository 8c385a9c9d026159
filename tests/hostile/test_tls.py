"""An exporter behind TLS, among clients that never end their handshakes."""

import shutil
from pathlib import Path

import pytest

from npu_core.testing import rngd, warboy
from tests.hostile.node import FAILED_BY_MANY, StartNode, crowd
from tests.metrics_exporter.serving import Certificates

if shutil.which("openssl") is None:
    pytest.skip("needs the openssl command, to make certificates", allow_module_level=True)
pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

HELLO = bytes.fromhex("160301020001000001fc0303")
"""How a handshake begins; the rest never comes."""
_LARGEST_HELLO = 131_000
_RECORD = 16_000


@pytest.mark.parametrize("says", [b"", HELLO, b"GET / HTTP/1.1\r\n\r\n"], ids=["silent", "half", "no TLS"])
@pytest.mark.parametrize(("addresses", "tolerated"), [(1, 0), (500, FAILED_BY_MANY)])
async def test_a_thousand_unfinished_handshakes(
    start_node: StartNode, tmp_path: Path, says: bytes, addresses: int, tolerated: int
) -> None:
    authority = Certificates(tmp_path / "authority")
    certificate, key = authority.sign("server")
    tls = {"tls_server_config": {"cert_file": str(certificate), "key_file": str(key)}}
    node = await start_node(warboy(0), context=authority.client(), web=tls)
    async with (
        node.works(tolerated) as checks,
        crowd(node.exporter, 1000, says=says, again=True, addresses=addresses),
    ):
        await checks.rounds(10)


async def test_handshakes_that_begin_with_as_much_as_openssl_takes(start_node: StartNode, tmp_path: Path) -> None:
    authority = Certificates(tmp_path / "authority")
    certificate, key = authority.sign("server")
    tls = {"tls_server_config": {"cert_file": str(certificate), "key_file": str(key)}}
    script = tmp_path / "hello"
    script.write_bytes(_unfinished_hello())
    node = await start_node(*map(rngd, range(64)), context=authority.client(), web=tls)
    async with node.works() as checks:
        for _ in range(4):
            async with crowd(node.exporter, 600, script=script):
                await checks.rounds()
                assert node.exporter.resident < node.exporter.limit


def _unfinished_hello() -> bytes:
    """All of a ClientHello of the largest size but its end, in records of TLS."""
    hello = b"\x01" + _LARGEST_HELLO.to_bytes(3, "big") + b"\x03\x03" + bytes(_LARGEST_HELLO - 100)
    parts = (hello[start : start + _RECORD] for start in range(0, len(hello), _RECORD))
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)
