"""The ways in which a container can get its devices."""

from enum import StrEnum


class DeviceInjection(StrEnum):
    """What an answer to Allocate holds."""

    FILES = "files"
    """Device files, one by one: every runtime knows them."""

    CDI = "cdi"
    """Names that the runtime looks up. One that does not know CDI drops them in silence."""

    BOTH = "both"
    """Names and files."""

    @property
    def files(self) -> bool:
        """Whether device files are named."""
        return self is not DeviceInjection.CDI

    @property
    def cdi(self) -> bool:
        """Whether CDI names are given."""
        return self is not DeviceInjection.FILES
