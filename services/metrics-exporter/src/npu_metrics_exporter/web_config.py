"""The web configuration file of the exporter toolkit, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says.

    Attributes:
        headers: added to every answer.
        users: user name and bcrypt hash; without one nobody is asked.
    """

    headers: tuple[tuple[str, str], ...] = ()
    users: tuple[tuple[str, bytes], ...] = ()


def load(path: str) -> WebConfig:
    """The file's values.

    Raises:
        SettingsError: with everything that is wrong with it.
    """
    raise NotImplementedError(path)
