"""From the web configuration to a TLS context, and what a client's certificate has to say."""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping

from npu_core.errors import FormatError, Problem, ProblemCode, SettingsError
from npu_core.os_errors import meaning
from npu_core.service.given_files import ReadFile, read_once
from npu_metrics_exporter.web.config_file import ClientAuth, Curve, Pem, Tls, TlsVersion

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


def context(tls: Tls, read: ReadFile = read_once) -> ssl.SSLContext:
    """The context for connections from now on; it holds the certificates as the files are now.

    Args:
        tls: the configuration.
        read: reads the files that it names.

    Raises:
        SettingsError: if a certificate or key cannot be read or is none, if the two do not belong together, or if this
            machine's OpenSSL does not support a chosen value: its build or its security policy may exclude the value.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_alpn_protocols(["http/1.1"])
    if not tls.prefer_own_order:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    problems = [
        *_choose(made, tls),
        *_load_pair(made, tls.certificate, tls.key, read),
        *_load_authority(made, tls.client_ca, read),
    ]
    # Before clients have to have a certificate: this one has none.
    if problems := problems or _unreachable(made, tls):
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


def _unreachable(made: ssl.SSLContext, tls: Tls) -> list[Problem]:
    """A problem if no client could connect: a client that takes everything tries to, in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    client.set_ciphers("ALL:@SECLEVEL=0")
    try:
        _shake_hands(made, client)
    except ssl.SSLError as error:
        expected = f"versions and cipher_suites with which a client can connect ({error.reason})"
        versions = f"min_version {tls.oldest}, max_version {tls.newest}"
        return [
            Problem("tls_server_config", versions, expected, tls.certificate.given.source, code=ProblemCode.CONFLICT)
        ]
    return []


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    # Each turn of a side takes what the other one said. A handshake has fewer turns than this.
    for _ in range(8):
        for side in list(sides):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                sides.remove(side)
        if not sides:
            return


def _load_pair(made: ssl.SSLContext, certificate: Pem, key: Pem, read: ReadFile) -> list[Problem]:
    with contextlib.ExitStack() as opened:
        paths: list[str] = []
        problems: list[Problem] = []
        for pem in (certificate, key):
            try:
                paths.append(opened.enter_context(_in_memory(pem, read)))
            except FormatError as error:
                problems.append(pem.problem(error.expected))
        if problems:
            return problems
        try:
            # A key with a passphrase would otherwise be asked for on the terminal.
            made.load_cert_chain(paths[0], paths[1], password="")
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


def _load_authority(made: ssl.SSLContext, authority: Pem | None, read: ReadFile) -> list[Problem]:
    if authority is None:
        return []
    try:
        with _in_memory(authority, read) as path:
            made.load_verify_locations(path)
    except FormatError as error:
        return [authority.problem(error.expected)]
    except (OSError, ValueError) as error:
        return [authority.problem(f"certificates of authorities, as PEM ({getattr(error, 'reason', None) or error})")]
    return []


@contextlib.contextmanager
def _in_memory(pem: Pem, read: ReadFile) -> Iterator[str]:
    """The path of a file in memory with the PEM: OpenSSL reads files only, and would wait for ever for a pipe.

    Raises:
        FormatError: if the file cannot be read, if its end is missing, or if the system gives no file in memory.
    """
    content = (pem.text or "").encode() if pem.path is None else read(pem.path)
    if content.count(b"-----BEGIN ") != content.count(b"-----END "):
        raise FormatError(pem.given.text, "as many lines with END as with BEGIN: a part is missing")
    try:
        descriptor = os.memfd_create("pem")
    except OSError as error:
        raise FormatError(pem.given.text, f"a copy of it in memory: {meaning(error, '')}") from error
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
