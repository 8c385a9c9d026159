"""Who a node trusts: an authority, the API server's certificate, a token and a kubeconfig for each client.

The authority has no keyUsage, and the API server's certificate no authority key identifier: several distributions of
Kubernetes ship such certificates. kubectl and the other clients in Go accept them, and so has every client of a node.
"""

import json
import subprocess
from pathlib import Path

from tools.cluster.programs import program

USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": ("system:node:node1", "system:nodes"),
    "scheduler": ("system:kube-scheduler", ""),
    "controller-manager": ("system:kube-controller-manager", "system:masters"),
    "proxy": ("system:kube-proxy", ""),
}
"""Clients of the API server: what each is called there, and its group."""
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def write(folder: Path, names: list[str]) -> None:
    """Write everything into a folder that is there.

    Args:
        folder: gets ``ca.crt``, ``api.crt``, ``sa.key``, ``tokens.csv``, ``admin.kubeconfig`` and the others.
        names: of the API server, as ``IP:10.96.0.1`` or ``DNS:kubernetes``.
    """
    ca = ["req", "-x509", *_EC, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=test-ca"]
    _openssl(folder, *ca)
    _openssl(folder, "req", *_EC, "-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=kube-apiserver")
    extensions = f"subjectAltName={','.join(names)}\nauthorityKeyIdentifier=none\n"
    (folder / "extensions").write_text(extensions, encoding="utf-8")
    sign = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extensions"]
    _openssl(folder, "x509", "-req", "-in", "api.csr", "-out", "api.crt", *sign)
    _openssl(folder, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "sa.key")
    _openssl(folder, "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    rows = [f"{name}-token,{user},{name},{group}" for name, (user, group) in USERS.items()]
    (folder / "tokens.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in USERS:
        (folder / f"{name}.kubeconfig").write_text(json.dumps(_kubeconfig(folder, name)), encoding="utf-8")


def _kubeconfig(folder: Path, name: str) -> dict[str, object]:
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": str(folder / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": f"{name}-token"}}],
        "contexts": [{"name": name, "context": {"cluster": "node", "user": name}}],
        "current-context": name,
    }


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([program("openssl"), *arguments], cwd=folder, capture_output=True, timeout=60, check=True)
