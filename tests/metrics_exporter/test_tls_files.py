"""Encrypted scrapes from the side of clients, and files that change or break meanwhile."""

import http.client
import logging
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npu_core.errors import SettingsError
from npu_core.service.settings import Given
from npu_metrics_exporter.tls import context
from npu_metrics_exporter.web_config import Pem, Tls
from tests.metrics_exporter.serving import Certificates, serving

if shutil.which("openssl") is None:
    pytest.skip("needs the openssl command, to make certificates", allow_module_level=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that the server does not know."""
    return Certificates(tmp_path_factory.mktemp("strangers"), "stranger")


@pytest.fixture
def pair(certificates: Certificates, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of the server and its key, in files of this test's own."""
    made = certificates.sign("server")
    return Path(shutil.copy(made[0], tmp_path / "tls.crt")), Path(shutil.copy(made[1], tmp_path / "tls.key"))


@pytest.fixture
def file(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    """A web configuration that encrypts, and asks nothing of clients."""
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config:\n  cert_file: {pair[0]}\n  key_file: {pair[1]}\n")
    return file


# -- the server's certificate ------------------------------------------------------------------------------------------


def test_a_client_that_trusts_the_authority_scrapes(file: Path, certificates: Certificates) -> None:
    with serving(web_config=file) as web:
        assert web.ask_tls(certificates.client()).status == 200


def test_a_client_that_does_not_trust_it_refuses(file: Path, strangers: Certificates) -> None:
    with serving(web_config=file) as web, pytest.raises(ssl.SSLCertVerificationError):
        web.ask_tls(strangers.client())


def test_plain_http_gets_no_metrics_and_does_not_hurt_others(file: Path, certificates: Certificates) -> None:
    with serving(web_config=file) as web:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            web.ask()
        assert web.ask_tls(certificates.client()).status == 200


def test_a_certificate_may_stand_in_the_configuration_itself(
    pair: tuple[Path, Path], certificates: Certificates, tmp_path: Path
) -> None:
    texts = [path.read_text().replace("\n", "\n    ") for path in pair]
    file = tmp_path / "inline.yml"
    file.write_text(f"tls_server_config:\n  cert: |\n    {texts[0]}\n  key: |\n    {texts[1]}\n")
    with serving(web_config=file) as web:
        assert web.ask_tls(certificates.client()).status == 200


# -- changes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def refusals(log: pytest.LogCaptureFixture) -> int:
    return sum("web configuration refused" in record.getMessage() for record in log.records)


def test_a_key_of_another_certificate_leaves_the_last_good_pair_and_is_told_once(
    file: Path, pair: tuple[Path, Path], certificates: Certificates, log: pytest.LogCaptureFixture
) -> None:
    context = certificates.client()
    with serving(web_config=file) as web:
        good = pair[1].read_text()
        pair[1].write_text(certificates.sign("another")[1].read_text())
        assert [web.ask_tls(context).status for _ in range(3)] == [200] * 3
        assert refusals(log) == 1
        assert "the key to the certificate" in web.keeper.error
        pair[1].write_text(good)
        assert web.ask_tls(context).status == 200
        assert not web.keeper.error


def test_a_broken_configuration_leaves_the_last_good_one_and_is_told_once(
    file: Path, certificates: Certificates, log: pytest.LogCaptureFixture
) -> None:
    context = certificates.client()
    with serving(web_config=file) as web:
        file.write_text("tls_server_config: {cert_fil: a}\nbasic_auth_users: 7\n")
        assert [web.ask_tls(context).status for _ in range(3)] == [200] * 3
        assert refusals(log) == len(web.keeper.error.splitlines())
        file.unlink()
        assert [web.ask_tls(context).status for _ in range(3)] == [200] * 3


def test_encryption_that_is_turned_off_is_off_for_the_next_connection(file: Path, certificates: Certificates) -> None:
    with serving(web_config=file) as web:
        assert web.ask_tls(certificates.client()).status == 200
        file.write_text("{}\n")
        assert web.ask().status == 200


# -- what OpenSSL may refuse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "key"),
    [({"suites": ("NO-SUCH-SUITE",)}, "cipher_suites"), ({"curve": "no-such-curve"}, "curve_preferences")],
)
def test_what_this_openssl_does_not_have_is_told_as_a_wrong_setting(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], key: str
) -> None:
    """A build or a policy of the system may leave out what the exporter knows by name."""
    monkeypatch.setattr("npu_metrics_exporter.tls._CURVES", {"no-such-curve": "no-such-curve"})
    certificate, private = (Pem(Given("key", str(path), "web.yml"), path=str(path)) for path in pair)
    with pytest.raises(SettingsError) as caught:
        context(Tls(certificate, private, **choice))
    (problem,) = caught.value.problems
    assert (problem.key, problem.source) == (f"tls_server_config.{key}", "web.yml")
