"""An import hook that gives one module another text than its file has."""

import importlib.util
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType


class _Loader(SourceFileLoader):
    """Compiles a given text and keeps nothing of it: a compiled file would outlive the mutant."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        super().__init__(name, str(path))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # the interface's
        """The code of the text, whatever the file says."""
        code = compile(self._text, self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code


class Substitute:
    """To be put first in :data:`sys.meta_path`."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self._name = name
        self._loader = _Loader(name, path, text)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the interface's
        target: ModuleType | None = None,  # noqa: ARG002  # the interface's
    ) -> ModuleSpec | None:
        """The module, if it is the one that is substituted."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)
