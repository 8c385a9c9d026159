"""Which processes hold device files open, through /proc.

A process that hangs in a driver may block a read of its files in /proc for ever: the driver call holds the lock of the
process's memory map, and the kernel reads the command line through that map. So every read runs on a thread that may
hang.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from npu_core.document import Value
from npu_core.errors import AccessDeniedError, HostError, MissingError, StuckError
from npu_core.hostfs import HostFS, RealFS

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
Wait: TypeAlias = Callable[[Collection[Any], float], object]

DEADLINE = 1.0
"""Seconds that processes are given to answer, after the last one was asked."""

_PATIENCE = 0.1
"""Seconds after which a read without an answer is left on its thread, and the next read starts on another thread."""

_DELETED = " (deleted)"
_INIT, _KERNEL_THREADS = "1", "2"
_FLAGS_AFTER_COMMAND = 6
_PF_KTHREAD = 0x00200000


@dataclass(frozen=True, slots=True, order=True)
class Holder(Value):
    """One process and the device files it has open.

    Attributes:
        pid: process id, as this /proc numbers it.
        command: its command line, or its name in brackets where it has none; empty if unreadable.
        paths: absolute paths of the device files, as the process opened them, sorted, each once.
        hung: whether the command line could not be read in time, so that ``command`` is the name. Such a process
            usually hangs in a driver.
    """

    pid: int
    command: str
    paths: tuple[str, ...]
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Holders(Value):
    """One look through all processes.

    Attributes:
        holders: by process id.
        hidden: number of processes whose open files may not be seen (another user's, without privileges).
        silent: processes whose open files could not be listed in time, without paths.
        partial: why this /proc does not show every process of the host; empty if every process is shown.
    """

    holders: tuple[Holder, ...] = ()
    hidden: int = 0
    silent: tuple[Holder, ...] = ()
    partial: str = ""

    @property
    def complete(self) -> bool:
        """Whether every process of the host was looked into. If not, a device file without a holder may be held."""
        return not (self.hidden or self.silent or self.partial)

    def of(self, path: str) -> tuple[Holder, ...]:
        """Those that hold the device file with this path."""
        return tuple(holder for holder in self.holders if path in holder.paths)


def find_holders(
    paths: frozenset[str],
    procfs: str = "/proc",
    fs: HostFS | None = None,
    deadline: float = DEADLINE,
    wait: Wait | None = None,
) -> Holders:
    """The processes that have one of the device files open.

    A process that ends while it is looked at is left out. Paths are compared as the processes wrote them, so a
    container that renamed a device file inside goes unseen.

    Args:
        paths: absolute paths of device files.
        procfs: where the host's /proc is.
        fs: the file system; by default this machine's.
        deadline: seconds that processes are given to answer, after the last one was asked.
        wait: waits until all these answers are there, but not longer than so many seconds; by default
            :func:`concurrent.futures.wait`.

    Raises:
        HostError: if the process directory itself cannot be read.
    """
    files, ask = fs or RealFS(), _Asking(deadline, wait)
    names = _listed(files, procfs, ask)
    if not paths:
        return Holders()
    looks = ask.all({name: partial(_held, files, f"{procfs}/{name}", paths) for name in names})
    held = {name: look for name, look in looks.items() if isinstance(look, tuple) and look}
    silent = [name for name, look in looks.items() if isinstance(look, StuckError)]
    hidden = sum(isinstance(look, HostError) for look in looks.values()) - len(silent)
    commands = ask.all({name: partial(_command, files, f"{procfs}/{name}") for name in held})
    late = [*silent, *(name for name, command in commands.items() if isinstance(command, HostError))]
    called = ask.all({name: partial(_name, files, f"{procfs}/{name}") for name in late})

    def holder(name: str, files_held: tuple[str, ...]) -> Holder:
        command = commands.get(name)
        if isinstance(command, str):
            return Holder(int(name), command, files_held)
        answer = called[name]
        return Holder(int(name), answer if isinstance(answer, str) else "", files_held, hung=True)

    return Holders(
        tuple(sorted(holder(name, found) for name, found in held.items())),
        hidden,
        tuple(sorted(holder(name, ()) for name in silent)),
        _partial(files, procfs, ask),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """How processes are asked; see :func:`find_holders`."""

    deadline: float
    wait: Wait | None

    def all(self, questions: Mapping[str, Callable[[], T]]) -> dict[str, T | HostError]:
        """The answer to every question; a :class:`StuckError` for a question without an answer in time.

        The questions run one after another on one thread. A question that blocks the thread is left on that thread, and
        another thread goes on with the next question.
        """
        # These load much, for this question alone.
        from concurrent.futures import wait  # noqa: PLC0415

        from npu_core.service.device_threads import DeviceThreads  # noqa: PLC0415

        threads = DeviceThreads()
        asked: dict[str, Future[T]] = {}
        answers: dict[str, T | HostError] = {}
        thread = 0
        for name, question in questions.items():
            try:
                asked[name] = threads.start(thread, question)
                asked[name].exception(_PATIENCE)
            except TimeoutError:
                threads.forget(thread)
                thread += 1
            except HostError as error:  # the system refuses a thread
                answers[name] = error
        threads.forget(thread)
        (self.wait or wait)(asked.values(), self.deadline)
        for name, future in asked.items():
            if not future.done():
                answers[name] = StuckError(f"no answer within {self.deadline:g} s")
            else:
                failed = future.exception()
                answers[name] = failed if isinstance(failed, HostError) else future.result()
        return answers


def _listed(fs: HostFS, procfs: str, ask: _Asking) -> list[str]:
    """The names of the process directories."""
    names = ask.all({procfs: partial(fs.list_dir, procfs)})[procfs]
    if isinstance(names, HostError):
        raise names if names.path else StuckError(names.detail, path=procfs)
    return [name for name in names if name.isdecimal()]


def _partial(fs: HostFS, procfs: str, ask: _Asking) -> str:
    """Why this /proc does not show every process of the host; empty if every process is shown.

    Process 2 of a host is kthreadd, the parent of all kernel threads. Other PID namespaces have no kernel threads. The
    mount option ``hidepid`` hides process 2 from users who may not inspect it.
    """
    questions = {pid: partial(fs.read_text, f"{procfs}/{pid}/stat") for pid in (_INIT, _KERNEL_THREADS)}
    answers = ask.all(questions)
    init, kernel = answers[_INIT], answers[_KERNEL_THREADS]
    if isinstance(kernel, str) and _is_kernel_thread(kernel):
        return ""
    if isinstance(init, HostError):
        return f"{procfs} hides the processes of other users from this one (the mount option hidepid)"
    return f"{procfs} shows the processes of one PID namespace (a container's), not those of the host"


def _is_kernel_thread(stat: str) -> bool:
    """Whether the text of a process's ``stat`` file has the flag of kernel threads (proc(5), field 9)."""
    fields = stat.rpartition(")")[2].split()
    flags = fields[_FLAGS_AFTER_COMMAND] if len(fields) > _FLAGS_AFTER_COMMAND else ""
    return flags.isdecimal() and bool(int(flags) & _PF_KTHREAD)


def _held(fs: HostFS, process: str, paths: frozenset[str]) -> tuple[str, ...]:
    try:
        descriptors = fs.list_dir(f"{process}/fd")
    except MissingError:
        return ()  # ended meanwhile
    except HostError:
        if _is_there(fs, process):
            raise  # a lack of memory or descriptors in this program does not mean that the process has no files
        return ()  # ended meanwhile
    targets = {_target(fs, f"{process}/fd/{descriptor}") for descriptor in descriptors}
    return tuple(sorted(targets & paths))


def _target(fs: HostFS, descriptor: str) -> str:
    try:
        return fs.read_link(descriptor).removesuffix(_DELETED)
    except AccessDeniedError:
        raise  # root without the right to look into others may list their files, but not see them
    except HostError:
        return ""  # closed meanwhile


def _is_there(fs: HostFS, process: str) -> bool:
    try:
        return "fd" in fs.list_dir(process)
    except HostError:
        return False


def _command(fs: HostFS, process: str) -> str:
    try:
        text = fs.read_text(f"{process}/cmdline").replace("\0", " ").strip()
    except HostError:
        text = ""  # ended meanwhile, or this user may not read the file
    return text or _name(fs, process)


def _name(fs: HostFS, process: str) -> str:
    try:
        name = fs.read_text(f"{process}/comm").strip()
    except HostError:
        return ""  # ended meanwhile, or this user may not read the file
    return f"[{name}]" if name else ""
