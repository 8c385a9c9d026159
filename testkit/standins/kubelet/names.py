"""Which resource names and API versions Register accepts, in the kubelet's order and words."""

from __future__ import annotations

import re

from testkit.standins.kubelet import gotext
from testkit.standins.kubelet.errors import RegistrationError

SUPPORTED_VERSIONS = ("v1beta1",)

_QUOTA_PREFIX = "requests."
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME_PART = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LONGEST_PREFIX = 253
_LONGEST_NAME = 63


def check_registration(version: str, resource: str) -> None:
    """What is checked before the plugin is dialled.

    Raises:
        RegistrationError: With the text the plugin gets.
    """
    if version not in SUPPORTED_VERSIONS:
        raise RegistrationError(
            f"requested API version {gotext.quote(version)} is not supported by kubelet. "
            f"Supported version is {gotext.quote_all(SUPPORTED_VERSIONS)}"
        )
    if not is_extended_resource_name(resource):
        raise RegistrationError(f"the ResourceName {gotext.quote(resource)} is invalid")


def is_extended_resource_name(resource: str) -> bool:
    """Whether a device plugin may advertise this name."""
    if "/" not in resource or "kubernetes.io/" in resource or resource.startswith(_QUOTA_PREFIX):
        return False
    return _is_qualified_name(_QUOTA_PREFIX + resource)


def _is_qualified_name(text: str) -> bool:
    prefix, _, name = text.partition("/")
    return (
        len(prefix) <= _LONGEST_PREFIX
        and _DNS_SUBDOMAIN.fullmatch(prefix) is not None
        and len(name) <= _LONGEST_NAME
        and _NAME_PART.fullmatch(name) is not None
    )
