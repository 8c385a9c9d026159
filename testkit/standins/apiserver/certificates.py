"""An authority and the certificates it gives, by the ``openssl`` command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


OF_AUTHORITY = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
"""The extensions of an authority that leaves nothing out."""
OF_SERVER = ("basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost")
"""The extensions of a server's certificate that leaves nothing out, for this machine's loopback addresses."""


class Authority:
    """A certificate authority in a directory, with the certificate of one server."""

    def __init__(
        self,
        directory: Path,
        name: str = "stand-in",
        *,
        of_authority: Sequence[str] = OF_AUTHORITY,
        of_server: Sequence[str] = OF_SERVER,
    ) -> None:
        """Make both certificates.

        Args:
            directory: gets the files.
            name: of the authority.
            of_authority: extensions of its certificate, as ``openssl req -addext`` takes them. Key identifiers are
                added unless one of them says ``subjectKeyIdentifier=none`` or ``authorityKeyIdentifier=none``.
            of_server: extensions of the server's certificate, likewise.
        """
        self.certificate = directory / "ca.crt"
        self.server_certificate = directory / "server.crt"
        self.server_key = directory / "server.key"
        key = directory / "ca.key"
        _request(
            ["-subj", f"/CN={name} authority", "-keyout", str(key), "-out", str(self.certificate)],
            of_authority,
        )
        _request(
            ["-subj", "/CN=kube-apiserver", "-keyout", str(self.server_key), "-out", str(self.server_certificate)],
            of_server,
            ["-CA", str(self.certificate), "-CAkey", str(key)],
        )


def _request(options: list[str], extensions: Sequence[str], signer: list[str] | None = None) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("no openssl command to make certificates with")
    added = [word for extension in extensions for word in ("-addext", extension)]
    command = [openssl, "req", "-x509", *_KEY, *options, *(signer or []), *added]
    subprocess.run(command, capture_output=True, check=True, timeout=30)
