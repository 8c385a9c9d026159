"""Keeping OpenSSL out of a process that encrypts nothing."""

import sys

_MODULES = ("ssl", "_ssl", "_hashlib")


def leave_out_openssl() -> None:
    """Let every import of OpenSSL's modules from now on fail, as on a Python that was built without it.

    asyncio loads them if it can, and hashlib prefers them to its own. Both do without; they are why a process that only
    speaks over local sockets would have 4 MB more. Not for one that loads uvloop, which needs them.

    Source: "The module cache" in Python's language reference: None there makes an import fail.
    """
    for name in _MODULES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the stubs do not know of it
