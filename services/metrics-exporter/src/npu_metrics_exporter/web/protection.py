"""By what a web configuration keeps strangers out, and when a new file may end that."""

from collections.abc import Collection

from npu_core.errors import Problem, ProblemCode
from npu_core.service.settings import Given, Kind

TLS = "tls_server_config"
USERS = "basic_auth_users"
CLIENT_AUTH = f"{TLS}.client_auth_type"
SANS = f"{TLS}.client_allowed_sans"
_SWITCHING_OFF = {TLS: "{}", USERS: "{}", CLIENT_AUTH: "NoClientCert", SANS: "[]"}
"""What the file has to say in the place of a protection that was in force, to end it."""


def unsaid_losses(
    before: frozenset[str], after: frozenset[str], said: frozenset[str], path: str
) -> tuple[Problem, ...]:
    """A problem for each protection that a new web configuration has lost without a word.

    An interrupted write leaves a file that lacks what would have come later, and often is right in every other way. So
    a file that leaves a protection out does not end it; only a file that switches it off does.

    Args:
        before: the protections in force.
        after: those of the new file.
        said: those that the new file switches off; see :func:`switched_off`.
        path: of the file.
    """
    lost = before - after - said
    return tuple(
        Problem(
            key,
            None,
            f"it as before, or {_SWITCHING_OFF[key]} to switch this protection off",
            path,
            code=ProblemCode.MISSING,
        )
        for key in _SWITCHING_OFF
        if key in lost
    )


def switched_off(entries: tuple[Given, ...], unchecked: Collection[str]) -> frozenset[str]:
    """The protections that a file ends in so many words. A section that is switched off takes its own keys along.

    Args:
        entries: of the file.
        unchecked: the values of ``client_auth_type`` with which no certificate is checked.
    """
    if not entries:
        return frozenset(_SWITCHING_OFF)
    sections = {entry.key: entry for entry in entries}
    emptied = {key for key in (TLS, USERS) if key in sections and _is_empty(sections[key], Kind.MAPPING)}
    if TLS in emptied:
        return frozenset({*emptied, CLIENT_AUTH, SANS})
    inside = {value.key: value for _, value in sections[TLS].fields} if TLS in sections else {}
    if (auth := inside.get(CLIENT_AUTH)) and auth.text.strip() in unchecked:
        emptied |= {CLIENT_AUTH, SANS}
    if (sans := inside.get(SANS)) and _is_empty(sans, Kind.LIST):
        emptied.add(SANS)
    return frozenset(emptied)


def _is_empty(given: Given, kind: Kind) -> bool:
    """Whether it is ``{}`` or ``[]``. A key without a value, where a write may have ended, is neither."""
    return given.kind is kind and not given.fields and not given.items
