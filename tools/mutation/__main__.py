"""``python -m tools.mutation``: break modules on purpose, and say which breakages no test noticed."""

import argparse
import gc
import importlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import integers

from tools.mutation.report import scores, survivor, table
from tools.mutation.run import Fate, Subject, UnfitTestsError, Verdict, cpu_seconds, subject_of, verdicts
from tools.mutation.targets import chosen, suite_of

_ROOT = Path(__file__).parents[2]
_WARM = (
    "_hypothesis_pytestplugin",
    "pytest_asyncio.plugin",
    "pytest_timeout",
    "grpc.aio",
    "google.protobuf.descriptor_pool",
)
"""What many tests need and is no module of the project: loaded once, and not in each child."""


def main() -> int:
    """Run it; the exit status says whether enough was noticed."""
    arguments = _arguments()
    _stop_when_told()
    _warm_up()
    subjects = [subject_of(suite_of(_ROOT, each), arguments.sample, arguments.seed) for each in arguments.modules]
    total = sum(len(subject.mutants) for subject in subjects)
    print(f"{total} mutants of {len(subjects)} modules", flush=True)
    if arguments.list:
        print("\n".join(str(mutant) for subject in subjects for mutant in subject.mutants))
        return 0
    found: list[Verdict] = []
    try:
        _try_all(subjects, arguments.jobs, found)
    except UnfitTestsError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        print(f"stopped after {len(found)} of them")
    rows = scores(found)
    print(*table(rows), f"{cpu_seconds():.0f} s of CPU time, {time.monotonic() - _BEGAN:.0f} s", sep="\n")
    least = {target.module: target.least for target in arguments.modules}
    poor = [row.name for row in rows if row.percent < least.get(row.name, 0.0)]
    for name in poor:
        print(f"{name}: below {least[name]:g} %")
    return int(bool(poor) or len(found) < total)


_BEGAN = time.monotonic()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as cores, parse.text, npu_device_plugin, pure, edges")
    parser.add_argument("--sample", type=int, help="so many mutants of each module at most; all of them otherwise")
    parser.add_argument("--seed", type=int, default=0, help="by which a sample is drawn")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--list", action="store_true", help="only say which mutants there are")
    arguments = parser.parse_args()
    try:
        arguments.modules = chosen(arguments.modules)
    except LookupError as error:
        parser.error(str(error))
    return arguments


def _stop_when_told() -> None:
    """Let SIGTERM end this as Ctrl-C does, with the children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _warm_up() -> None:
    """Load what the children share, and let every run of a test draw the same examples.

    The suites' own profiles take from this one what they do not say themselves.
    """
    for name in _WARM:
        importlib.import_module(name)
    settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # a failure is enough, it need not be the simplest
        suppress_health_check=tuple(HealthCheck),
    )
    settings.load_profile("mutation")
    with warnings.catch_warnings(action="ignore"):  # that this is early
        _test_nothing()
    gc.freeze()


@given(integers())
def _test_nothing(_: int) -> None:
    """The first test of its kind in a process loads a good deal, and looks for constants in all modules there are."""


def _try_all(subjects: Sequence[Subject], jobs: int, found: list[Verdict]) -> None:
    for verdict in verdicts(subjects, jobs):
        found.append(verdict)
        if verdict.fate is Fate.SURVIVED:
            print(*survivor(verdict), sep="\n", flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is to be the same in every run
        os.execve(sys.executable, [*sys.orig_argv], os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606  # no shell
    sys.exit(main())
