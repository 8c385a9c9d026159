"""The web configuration in force: follows its file and its certificates, a wrong change leaves the last good one."""


class WebKeeper:
    """Holds the web configuration in force, and the TLS context made of it."""

    def __init__(self, path: str | None) -> None:
        """The configuration of the file, or none at all.

        Raises:
            SettingsError: with everything that is wrong with it.
        """
        self._path = path
