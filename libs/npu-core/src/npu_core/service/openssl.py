"""Keeping OpenSSL out of a process that encrypts nothing."""

import sys
from importlib import import_module

_PROTOCOL = ("ssl", "_ssl")
_DIGESTS = "_hashlib"
_SHA2 = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
_OWN_DIGESTS = ("_md5", "_sha1", *_SHA2, "_sha3")


def leave_out_openssl() -> None:
    """Let every import of OpenSSL's modules from now on fail, as on a Python that was built without it.

    asyncio loads them if it can, and hashlib prefers them to its own. Both do without; they are why a process that only
    speaks over local sockets would have 4 MB more. Not for one that loads uvloop, which needs them.

    A Python that was built without digests of its own, as some distributions do, keeps OpenSSL's.

    Source: "The module cache" in Python's language reference: None there makes an import fail.
    """
    for name in (*_PROTOCOL, _DIGESTS) if _has_own_digests() else _PROTOCOL:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the stubs do not know of it


def _has_own_digests() -> bool:
    try:
        for name in _OWN_DIGESTS:
            import_module(name)  # hashlib loads them, too, where it has no others
    except ImportError:
        return False
    return True
