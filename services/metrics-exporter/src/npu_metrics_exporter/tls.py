"""From the web configuration to a TLS context, and what a client's certificate has to say."""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping

from npu_core.errors import Problem, SettingsError
from npu_core.os_errors import meaning
from npu_metrics_exporter.web_config import ClientAuth, Curve, Pem, Tls, TlsVersion

_VERSIONS = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.REQUEST: ssl.CERT_NONE,
    ClientAuth.REQUIRE_ANY: ssl.CERT_REQUIRED,
    ClientAuth.VERIFY_IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED,
}
_CURVES = {Curve.P256: "prime256v1", Curve.P384: "secp384r1", Curve.P521: "secp521r1", Curve.X25519: "X25519"}
_SAN_KINDS = frozenset({"DNS", "email", "IP Address", "URI"})


def context(tls: Tls) -> ssl.SSLContext:
    """The context for connections from now on; it holds the certificates as the files are now.

    Raises:
        SettingsError: if a certificate or key cannot be read or is none, if the two do not belong together, or if this
            machine's OpenSSL does not support a chosen value: its build or its security policy may exclude the value.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_alpn_protocols(["http/1.1"])
    if not tls.prefer_own_order:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    problems = [*_choose(made, tls), *_load_pair(made, tls.certificate, tls.key), *_load_authority(made, tls.client_ca)]
    if problems:
        raise SettingsError(problems)
    made.verify_mode = _VERIFY[tls.client_auth]
    return made


def is_allowed(certificate: Mapping[str, object] | None, sans: tuple[str, ...]) -> bool:
    """Whether one of a client's alternative names is among ``sans``; without any, every client is.

    Args:
        certificate: as ``SSLObject.getpeercert`` gives it.
        sans: DNS names, addresses, e-mail addresses, URIs.
    """
    names = (certificate or {}).get("subjectAltName", ())
    assert isinstance(names, tuple)
    return not sans or any(kind in _SAN_KINDS and name in sans for kind, name in names)


def _choose(made: ssl.SSLContext, tls: Tls) -> Iterator[Problem]:
    """Apply the TLS versions, cipher suites and curve of the configuration. OpenSSL may refuse each of them."""

    def oldest() -> None:
        made.minimum_version = _VERSIONS[tls.oldest]

    def newest() -> None:
        made.maximum_version = _VERSIONS[tls.newest]

    choices: list[tuple[str, str, Callable[[], None]]] = [
        ("min_version", tls.oldest, oldest),
        ("max_version", tls.newest, newest),
    ]
    if tls.suites:
        suites = ":".join(tls.suites)
        choices.append(("cipher_suites", suites, lambda: made.set_ciphers(suites)))
    if tls.curve:
        curve = _CURVES[tls.curve]
        choices.append(("curve_preferences", tls.curve, lambda: made.set_ecdh_curve(curve)))
    for name, value, choose in choices:
        try:
            choose()
        except (ValueError, OSError) as error:  # OpenSSL's own error is an OSError
            reason = getattr(error, "reason", None) or error
            expected = f"a value that the OpenSSL of this machine supports ({reason})"
            yield Problem(f"tls_server_config.{name}", value, expected, tls.certificate.given.source)


def _load_pair(made: ssl.SSLContext, certificate: Pem, key: Pem) -> list[Problem]:
    problems = [problem for pem in (certificate, key) if (problem := _unreadable(pem))]
    if problems:
        return problems
    with _PemFile(certificate) as certificate_path, _PemFile(key) as key_path:
        try:
            # A key with a passphrase would otherwise be asked for on the terminal.
            made.load_cert_chain(certificate_path, key_path, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return [key.problem(f"the key to the certificate of {certificate.given.key}")]
            return [certificate.problem(_what_pair(error)), key.problem(_what_pair(error))]
        except (OSError, ValueError) as error:
            return [certificate.problem(_what_pair(error))]
    return []


def _what_pair(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return f"a certificate and its key without a passphrase, as PEM ({reason})"


def _load_authority(made: ssl.SSLContext, authority: Pem | None) -> list[Problem]:
    if authority is None:
        return []
    if problem := _unreadable(authority):
        return [problem]
    with _PemFile(authority) as path:
        try:
            made.load_verify_locations(path)
        except (OSError, ValueError) as error:
            return [
                authority.problem(f"certificates of authorities, as PEM ({getattr(error, 'reason', None) or error})")
            ]
    return []


def _unreadable(pem: Pem) -> Problem | None:
    if pem.path is None:
        return None
    try:
        with open(pem.path, "rb"):  # noqa: PTH123  # as web_config
            return None
    except OSError as error:
        return pem.problem(f"a file that can be read: {meaning(error, pem.path)}")


class _PemFile:
    """The path of a PEM; of one that stands in the configuration, a file in memory: OpenSSL reads files only."""

    def __init__(self, pem: Pem) -> None:
        self._pem = pem
        self._descriptor: int | None = None

    def __enter__(self) -> str:
        if self._pem.path is not None:
            return self._pem.path
        self._descriptor = os.memfd_create("pem")
        os.write(self._descriptor, (self._pem.text or "").encode())
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
