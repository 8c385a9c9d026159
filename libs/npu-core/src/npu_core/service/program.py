"""The program of a service: from its first line to the end of its process.

A plain command line, as manifests have it, is read here, and the process goes on as the daemon. Everything else, help
and mistakes included, goes to typer (:mod:`npu_core.service.command_line`), which then replaces itself by a process
with a plain command line: typer takes 18 MB and 60 ms, and the memory would be taken for as long as the node runs.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from npu_core.errors import SettingsError
from npu_core.service import plain_options
from npu_core.service.lifetime import leave
from npu_core.service.options import Option, flags_of, names_of
from npu_core.service.terminal import have_standard_streams, print_on_any_terminal
from npu_core.threads import refusal_at_start

WRONG_SETTINGS = 2
"""Exit status."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a service is as a program.

    Attributes:
        name: of the command: ``k8s-device-plugin``.
        package: the Python package, which can be run as a module.
        version: of the package.
        options: every option of the command line.
        threads: how many the program needs at its start.
        daemon: runs the service with the options that were given, and returns the exit status. Raises SettingsError.
        command: parses any other command line.
    """

    name: str
    package: str
    version: str
    options: tuple[Option, ...]
    threads: int
    daemon: Callable[[Mapping[str, str]], int]
    command: Callable[["Program"], None]

    def start(self) -> None:
        """Run the program. Signals have to be held back already, as :mod:`npu_core.service.lifetime` says."""
        have_standard_streams()
        print_on_any_terminal()
        if why := refusal_at_start(self.threads):
            sys.exit(why)
        given = plain_options.parse(sys.argv[1:], names_of(self.options), flags_of(self.options))
        if given is None:
            self.command(self)
            return
        from npu_core.service.standard_error import protect  # noqa: PLC0415  # only a daemon has to be protected

        protect()
        try:
            status = self.daemon(given)
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            status = WRONG_SETTINGS
        leave(status)

    def become_daemon(self, given: Mapping[str, str]) -> None:
        """Replace this process by one that was given the same options in a plain command line."""
        line = plain_options.line(given, flags_of(self.options))
        arguments = [sys.executable, "-P", "-m", self.package, *line]
        os.execv(sys.executable, arguments)  # noqa: S606  # no shell is meant
