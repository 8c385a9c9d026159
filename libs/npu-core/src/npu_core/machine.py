"""The machine that the cards are in."""

from dataclasses import dataclass

from npu_core.document import Value


@dataclass(frozen=True, slots=True)
class Placeholder(Value):
    """A DMI string for which the maker of the machine left a placeholder.

    Attributes:
        item: ``sys_vendor``, ``product_name``, ``board_vendor`` or ``board_name``.
        text: what the string says: ``Default string``.
    """

    item: str
    text: str

    def __str__(self) -> str:
        return f"{self.item} is {self.text!r}, a placeholder that names no machine"


@dataclass(frozen=True, slots=True)
class Machine(Value):
    """What the firmware says of the machine (DMI), as it says it.

    Attributes:
        vendor: ``Dell Inc.``; None where it says nothing.
        name: ``PowerEdge R750``; None where it says nothing.
        vendor_from: the DMI string that ``vendor`` is: ``sys_vendor``, or ``board_vendor`` if the former says nothing.
        name_from: the DMI string that ``name`` is: ``product_name``, or ``board_name`` if the former says nothing.
        placeholders: the DMI strings that were read and say nothing, though they have a text.
    """

    vendor: str | None = None
    name: str | None = None
    vendor_from: str = "sys_vendor"
    name_from: str = "product_name"
    placeholders: tuple[Placeholder, ...] = ()
