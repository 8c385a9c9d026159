"""How the client gets to know the API server and proves who we are."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from npu_core.errors import FormatError
from npu_core.service.given_files import read_once
from npu_feature_discovery.sinks import FailureReason, SinkError
from npu_feature_discovery.sinks.child import ApiAccess

_TOKEN = "BearerToken"  # noqa: S105  # the client's name for the way to authenticate


_FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_BRACKETED = re.compile(r"\[(?P<address>[0-9A-Fa-f:.%]+)\](?:(?P<bits>/[0-9]+)|:(?P<port>[0-9]+))?", re.ASCII)


def configuration(access: ApiAccess) -> Any:  # noqa: ANN401  # the client has no types worth the name
    """A ``kubernetes.client.Configuration``, from a kubeconfig or the pod's service account, read just now.

    Raises:
        SinkError: CONFIGURATION, if a file is missing or not what it should be.
    """
    from kubernetes.client import Configuration  # noqa: PLC0415  # not loaded before it is used

    made = Configuration()
    # Whoever waits for us decides when to try again; the client would only take longer to say what is wrong.
    made.retries = False
    if access.kubeconfig is None:
        _load_service_account(made, access.service_account_dir)
    else:
        _load_kubeconfig(made, access.kubeconfig)
    _check_token(made, access)
    made.no_proxy = _without_brackets(made.no_proxy or "", made.host)
    return made


def tls_context(made: Any) -> ssl.SSLContext:  # noqa: ANN401
    """The TLS context that checks the API server's certificate, for a configuration that :func:`configuration` made.

    The context verifies chain, name and dates, as kubectl and the other Go clients do. VERIFY_X509_STRICT, which Python
    sets since 3.13, is off: the flag refuses authorities without keyUsage and certificates without authority key
    identifier. Go clients accept such certificates, and many clusters have them.
    """
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if made.verify_ssl else ssl.CERT_NONE)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not (made.ssl_ca_cert or made.ca_cert_data):
        # urllib3 loads the default certificates only into a context that urllib3 makes itself.
        context.load_default_certs()
    return context


def _load_service_account(made: Any, directory: str) -> None:  # noqa: ANN401
    from kubernetes.config import ConfigException  # noqa: PLC0415
    from kubernetes.config.incluster_config import InClusterConfigLoader  # noqa: PLC0415

    token, authority = f"{directory}/token", f"{directory}/ca.crt"
    loader = InClusterConfigLoader(token, authority, try_refresh_token=False)
    for path in (token, authority):
        _check_file(path)
    try:
        loader.load_and_set(made)
    except (ConfigException, OSError, ValueError) as error:
        text = f"cannot use the service account in {directory}: {error}"
        raise SinkError(FailureReason.CONFIGURATION, text) from error


def _load_kubeconfig(made: Any, path: str) -> None:  # noqa: ANN401
    from kubernetes.config import load_kube_config  # noqa: PLC0415

    _check_file(path)
    for named in _files_named_in(path):
        _check_file(named)
    try:
        load_kube_config(path, client_configuration=made, persist_config=False)
    except SinkError:  # out of time
        raise
    except Exception as error:  # what a wrong file makes the loader raise is not a closed set
        text = f"cannot use the kubeconfig {path}: {_one_line(error)}"
        raise SinkError(FailureReason.CONFIGURATION, text) from error


def _files_named_in(kubeconfig: str) -> Iterator[str]:
    """The files that a kubeconfig names and that are there. The client may never need one that is missing."""
    import yaml  # noqa: PLC0415  # the client needs it anyway

    try:
        document = yaml.safe_load(read_once(kubeconfig))
        parts = [
            entry[part]
            for section, part in (("clusters", "cluster"), ("users", "user"))
            for entry in document.get(section) or ()
        ]
        names = [part[key] for part in parts for key in _FILE_KEYS if part and key in part]
        paths = [Path(kubeconfig).parent / name for name in names]
    except (yaml.YAMLError, RecursionError, AttributeError, KeyError, TypeError, ValueError):
        return  # no kubeconfig, which the client says better
    yield from (str(path) for path in paths if path.exists())


def _check_file(path: str) -> None:
    """Refuse what the client would wait for without an end, or read into memory whole.

    Raises:
        SinkError: CONFIGURATION, if the path does not lead to a regular file of a bounded size that can be read.
    """
    try:
        read_once(path)
    except FormatError as error:
        text = f"cannot use the file {path}: expected {error.expected}"
        raise SinkError(FailureReason.CONFIGURATION, text) from error


def _without_brackets(no_proxy: str, host: str) -> str:
    """``NO_PROXY`` in the form that the client reads: the client knows IPv6 addresses without brackets only.

    An entry ``[ADDRESS]`` means every port, ``[ADDRESS]:PORT`` one of them, ``[ADDRESS]/BITS`` a network.
    """
    try:
        server = urlsplit(host)
        port = server.port or _DEFAULT_PORTS.get(server.scheme)
    except ValueError:
        port = None  # an address that the client will refuse, with the reason
    return ",".join(_plain_entry(entry.strip(), port) for entry in no_proxy.split(","))


def _plain_entry(entry: str, port: int | None) -> str:
    match = _BRACKETED.fullmatch(entry)
    if match is None or (match["port"] and match["port"] != str(port)):
        return entry
    return f"{match['address']}{match['bits'] or ''}"


def _check_token(made: Any, access: ApiAccess) -> None:  # noqa: ANN401
    """A token that does not fit a header must not get so far: the message of that error would show it."""
    token = made.api_key.get(_TOKEN)
    if token is None:
        return
    made.api_key[_TOKEN] = token.strip()
    if not (token.isascii() and token.strip().isprintable()):
        where = access.kubeconfig or f"{access.service_account_dir}/token"
        raise SinkError(FailureReason.CONFIGURATION, f"{where} holds no token: there are characters that none has")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
