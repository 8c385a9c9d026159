"""Encrypted scrapes from the side of clients, and files that change or break meanwhile."""

import http.client
import logging
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metrics_exporter.serving import PATIENCE, Certificates, Serving, serving

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
    return configure(tmp_path, pair)


def configure(directory: Path, pair: tuple[Path, Path], *more: str) -> Path:
    file = directory / "web.yml"
    lines = [f"cert_file: {pair[0]}", f"key_file: {pair[1]}", *more]
    file.write_text("tls_server_config:\n" + "".join(f"  {line}\n" for line in lines))
    return file


def served_name(web: Serving, context: ssl.SSLContext) -> str:
    """The common name of the certificate that a new connection is shown."""
    connection = http.client.HTTPSConnection("127.0.0.1", web.address[1], timeout=PATIENCE, context=context)
    connection.connect()
    try:
        shown: Any = connection.sock.getpeercert()
        return str(dict(part for (part,) in shown["subject"])["commonName"])
    finally:
        connection.close()


def is_refused(web: Serving, context: ssl.SSLContext) -> bool:
    """Whether a client with this context gets no answer. TLS 1.3 tells a client only with the first read."""
    try:
        web.ask_tls(context)
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return True
    return False


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


def test_an_older_version_than_the_oldest_allowed_is_refused(
    pair: tuple[Path, Path], certificates: Certificates, tmp_path: Path
) -> None:
    old = certificates.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(web_config=configure(tmp_path, pair, "min_version: TLS13")) as web:
        assert is_refused(web, old)
        assert not is_refused(web, certificates.client())


# -- what is asked of clients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "let_in"),
    [
        ("NoClientCert", ["none", "known", "unknown"]),
        ("RequestClientCert", ["none", "known", "unknown"]),
        ("RequireAnyClientCert", ["known"]),
        ("VerifyClientCertIfGiven", ["none", "known"]),
        ("RequireAndVerifyClientCert", ["known"]),
    ],
)
def test_clients_are_let_in_by_their_certificate(
    auth: str, let_in: list[str], pair: tuple[Path, Path], clients: dict[str, ssl.SSLContext], authority: Path
) -> None:
    checked = auth not in {"NoClientCert", "RequestClientCert"}
    more = [f"client_auth_type: {auth}", *([f"client_ca_file: {authority}"] if checked else [])]
    with serving(web_config=configure(pair[0].parent, pair, *more)) as web:
        assert [name for name, client in clients.items() if not is_refused(web, client)] == let_in


@pytest.fixture(scope="module")
def authority(certificates: Certificates) -> Path:
    return certificates.authority


@pytest.fixture(scope="module")
def clients(certificates: Certificates, strangers: Certificates) -> dict[str, ssl.SSLContext]:
    """Without a certificate, with one of the server's authority, and with somebody else's."""
    unknown = certificates.client()
    unknown.load_cert_chain(*strangers.sign("somebody"))
    return {
        "none": certificates.client(),
        "known": certificates.client(certificates.sign("prometheus")),
        "unknown": unknown,
    }


def test_only_clients_with_an_allowed_name_are_let_in(
    pair: tuple[Path, Path], certificates: Certificates, tmp_path: Path
) -> None:
    auth = ["client_auth_type: RequireAndVerifyClientCert", f"client_ca_file: {certificates.authority}"]
    file = configure(tmp_path, pair, *auth, "client_allowed_sans: [prometheus.monitoring]")
    allowed = certificates.client(certificates.sign("allowed", "DNS:prometheus.monitoring"))
    another = certificates.client(certificates.sign("another", "DNS:grafana.monitoring"))
    with serving(web_config=file) as web:
        assert web.ask_tls(allowed).status == 200
        assert is_refused(web, another)


# -- changes -----------------------------------------------------------------------------------------------------------


def test_a_new_certificate_is_shown_from_the_next_connection_on_and_kept_ones_stay(
    file: Path, pair: tuple[Path, Path], certificates: Certificates
) -> None:
    context = certificates.client()
    with serving(web_config=file) as web:
        kept = http.client.HTTPSConnection("127.0.0.1", web.address[1], timeout=PATIENCE, context=context)
        kept.request("GET", "/metrics")
        assert kept.getresponse().read()
        for new, old in zip(certificates.sign("renewed"), pair, strict=True):
            shutil.copy(new, old)
        assert served_name(web, context) == "renewed"
        kept.request("GET", "/metrics")
        assert kept.getresponse().status == 200
        kept.close()


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
