"""An authority and the certificates it gives, by the ``openssl`` command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Authority:
    """A certificate authority in a directory, with one certificate for this machine's loopback addresses."""

    def __init__(self, directory: Path, name: str = "stand-in") -> None:
        self.certificate = directory / "ca.crt"
        self.server_certificate = directory / "server.crt"
        self.server_key = directory / "server.key"
        key = directory / "ca.key"
        _request(
            ["-subj", f"/CN={name} authority", "-keyout", str(key), "-out", str(self.certificate)],
            ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"],
        )
        _request(
            ["-subj", "/CN=kube-apiserver", "-keyout", str(self.server_key), "-out", str(self.server_certificate)],
            ["basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
            ["-CA", str(self.certificate), "-CAkey", str(key)],
        )


def _request(options: list[str], extensions: list[str], signer: list[str] | None = None) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("no openssl command to make certificates with")
    added = [word for extension in extensions for word in ("-addext", extension)]
    command = [openssl, "req", "-x509", *_KEY, *options, *(signer or []), *added]
    subprocess.run(command, capture_output=True, check=True, timeout=30)
