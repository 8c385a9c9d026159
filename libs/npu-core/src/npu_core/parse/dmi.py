"""What the machine's firmware says of the machine."""

_PRINTABLE_FROM = " "

_PLACEHOLDERS = frozenset(
    {
        "baseboardmanufacturer",
        "baseboardproductname",
        "boardmanufacturer",
        "boardname",
        "boardproductname",
        "boardvendorname",
        "default",
        "defaultstring",
        "empty",
        "invalid",
        "na",
        "none",
        "noneprovided",
        "notapplicable",
        "notavailable",
        "notspecified",
        "null",
        "oem",
        "productname",
        "systemmanufacturer",
        "systemname",
        "systemproductname",
        "tbd",
        "tbdbyoem",
        "tobefilledbyoem",
        "tobefilledinbyoem",
        "undefined",
        "unknown",
        "unspecified",
    }
)
"""Placeholder texts in DMI strings that the maker did not fill in, as :func:`_normal` returns them."""


def parse_dmi(text: str) -> str | None:
    """One DMI string as it stands, without control characters and outer blanks; None if nothing is left."""
    return "".join(char for char in text if char >= _PRINTABLE_FROM).strip() or None


def is_placeholder(text: str) -> bool:
    """Whether a DMI string is a placeholder that the maker did not replace: ``To Be Filled By O.E.M.``, ``0``, ``...``.

    Source: the lists that Linux (``sound/soc/soc-core.c``) and systemd (``hwdb.d/20-dmi-id.hwdb``) keep, and public
    collections of ``dmidecode`` output.
    """
    normal = _normal(text)
    return normal in _PLACEHOLDERS or not normal.strip("0")


def _normal(text: str) -> str:
    """The text in lower case, without blanks and punctuation: firmware writes the same placeholder in many ways."""
    return "".join(char for char in text.casefold() if char.isalnum())
