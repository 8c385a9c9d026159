#!/usr/bin/env python3
"""Whether a package can be released: its version is the same wherever it is written.

``release_check.py PACKAGE [--tag TAG] [--before] [--root DIR]`` prints the tag and ends with 0, or prints all that is
wrong and ends with 1. PACKAGE is device-plugin, feature-discovery, metrics-exporter or npu-core. With ``--before`` the
changelog may still call the entry "Unreleased", and the base image may have no digest.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """What is released.

    Attributes:
        directory: of its sources.
        image: what its image is called; None if it has none.
        variable: of docker-bake.hcl that holds its version.
    """

    directory: str
    image: str | None = None
    variable: str = ""


PACKAGES = {
    "device-plugin": Package("services/device-plugin", "k8s-device-plugin", "DEVICE_PLUGIN_VERSION"),
    "feature-discovery": Package("services/feature-discovery", "npu-feature-discovery", "FEATURE_DISCOVERY_VERSION"),
    "metrics-exporter": Package("services/metrics-exporter", "npu-metrics-exporter", "METRICS_EXPORTER_VERSION"),
    "npu-core": Package("libs/npu-core"),
}
REPOSITORY = "ghcr.io/furiosa-ai"
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def version_of(root: Path, package: Package) -> str:
    """What the package itself says.

    Raises:
        ValueError: if it does not, or more than once.
    """
    texts = [path.read_text(encoding="utf-8") for path in root.glob(f"{package.directory}/src/*/__init__.py")]
    found = [version for text in texts for version in _VERSION.findall(text)]
    if len(found) != 1:
        raise ValueError(f"{package.directory}: {len(found)} versions, expected one")
    version: str = found[0]
    return version


def problems(root: Path, name: str, tag: str | None, *, before: bool) -> Iterator[str]:
    """All that keeps this package from being released."""
    package = PACKAGES[name]
    version = version_of(root, package)
    if tag is not None and tag != f"{name}/v{version}":
        yield f"the tag is {tag}, expected {name}/v{version}"
    yield from _changelog(root, package, version, before=before)
    if package.image is not None:
        yield from _bake_file(root, package, version)
        yield from _manifests(root, package, version)
        if not before:
            yield from _base_image(root)


def _changelog(root: Path, package: Package, version: str, *, before: bool) -> Iterator[str]:
    path = root / package.directory / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    first = next(iter(_HEADING.findall(text)), None)
    # An entry that is only half a release's would be lost in it.
    dated = rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d"
    where = f"{package.directory}/CHANGELOG.md"
    if first is None or not (re.fullmatch(dated, first) or (before and first == "Unreleased")):
        yield f'{where} begins with the entry "{first}", expected "{version} - YYYY-MM-DD"'
    elif not re.match(r"\s*\* ", _HEADING.split(text)[2]):
        yield f"{where}: nothing is listed under {first}"


def _bake_file(root: Path, package: Package, version: str) -> Iterator[str]:
    text = (root / "docker-bake.hcl").read_text(encoding="utf-8")
    found = re.findall(rf'variable "{package.variable}" {{\s*default = "([^"]*)"\s*}}', text)
    if found != [version]:
        yield f"docker-bake.hcl has {package.variable} {' and '.join(found) or 'nowhere'}, expected {version}"


def _manifests(root: Path, package: Package, version: str) -> Iterator[str]:
    named = re.compile(rf"{re.escape(REPOSITORY)}/{package.image}(\S*)")
    found = [
        (path, rest)
        for path in sorted((root / "deployments").rglob("*.yaml"))
        for rest in named.findall(path.read_text(encoding="utf-8"))
    ]
    if not found:
        yield f"no manifest of deployments/ has the image {package.image}"
    for path, rest in found:
        if rest != f":{version}":
            yield f"{path.relative_to(root)} has {package.image}{rest}, expected {package.image}:{version}"


def _base_image(root: Path) -> Iterator[str]:
    where = "deployments/images/Dockerfile"
    text = (root / where).read_text(encoding="utf-8")
    if not re.search(r"^ARG PYTHON_IMAGE=[^\s@]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE):
        yield f"{where} names its base image by a tag alone, which may change: run make base-image"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=sorted(PACKAGES))
    parser.add_argument("--tag", help="what is to be released, e.g. device-plugin/v1.2.0")
    parser.add_argument("--before", action="store_true", help='between releases: "Unreleased", and no digest')
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="of the repository")
    given = parser.parse_args()
    try:
        found = list(problems(given.root, given.package, given.tag, before=given.before))
        version = version_of(given.root, PACKAGES[given.package])
    except (OSError, ValueError) as error:
        found, version = [str(error)], ""
    for problem in found:
        sys.stderr.write(f"{given.package}: {problem}\n")
    if found:
        return 1
    sys.stdout.write(f"{given.package}/v{version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
