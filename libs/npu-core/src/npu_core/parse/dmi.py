"""What the machine's firmware says of the machine."""

_PRINTABLE_FROM = " "


def parse_dmi(text: str) -> str | None:
    """One DMI string as it stands, without control characters and outer blanks; None if nothing is left."""
    return "".join(char for char in text if char >= _PRINTABLE_FROM).strip() or None
