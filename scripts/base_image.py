#!/usr/bin/env python3
"""Pins the build stage of the images to what the tag of its base image names now.

``base_image.py [--dockerfile FILE] [--plain-http]`` asks the registry for the tag in the default of PYTHON_IMAGE, and
writes the digest behind the tag: ``docker.io/library/python:3.13-trixie@sha256:...``. The digest is that of the list of
all platforms. Needs skopeo; no image is downloaded. If anything fails, the file stays as it is, and the program ends
with 1.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

PLATFORMS = {("linux", "amd64"), ("linux", "arm64")}
"""What the images are built for (docker-bake.hcl)."""
ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "deployments/images/Dockerfile"
_PINNED = re.compile(r"^ARG PYTHON_IMAGE=(?P<tag>[^\s@]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$", re.MULTILINE)
_SECONDS = 120


class BaseImageError(Exception):
    """The image cannot be pinned; the message says why."""


def pinned(text: str) -> "re.Match[str]":
    """Where a Dockerfile names the base image: ``tag``, and ``digest`` or None.

    Raises:
        BaseImageError: if it does not, or more than once.
    """
    found = list(_PINNED.finditer(text))
    if len(found) != 1:
        raise BaseImageError(f"{len(found)} lines ARG PYTHON_IMAGE=name:tag, expected one")
    return found[0]


def digest_of(tag: str, manifest: bytes) -> str:
    """The digest of a list of platforms, which has to have every platform that images are built for.

    Raises:
        BaseImageError: if it is no such list.
    """
    try:
        listed = json.loads(manifest)["manifests"]
        found = {(each["platform"]["os"], each["platform"]["architecture"]) for each in listed if "platform" in each}
    except (ValueError, KeyError, TypeError):
        raise BaseImageError(f"{tag} is not a list of images for several platforms") from None
    if missing := PLATFORMS - found:
        raise BaseImageError(f"{tag} has no image for {', '.join('/'.join(each) for each in sorted(missing))}")
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def fetched(tag: str, *, plain_http: bool) -> bytes:
    """The manifest that a registry has for a tag, as the registry has it.

    Raises:
        BaseImageError: if skopeo is missing or fails.
    """
    options = ["--tls-verify=false"] if plain_http else []
    command = ["skopeo", "inspect", "--raw", *options, f"docker://{tag}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True).stdout  # noqa: S603  # no shell
    except FileNotFoundError:
        raise BaseImageError("no skopeo: run scripts/images-setup skopeo") from None
    except subprocess.CalledProcessError as error:
        raise BaseImageError(f"{tag}: {error.stderr.decode(errors='replace').strip()}") from None
    except subprocess.TimeoutExpired:
        raise BaseImageError(f"{tag}: the registry did not answer within {_SECONDS} s") from None


def renew(dockerfile: Path, *, plain_http: bool) -> str:
    """Write the digest of the tag into the file; what to tell.

    Raises:
        BaseImageError: if that is not possible.
    """
    text = dockerfile.read_text(encoding="utf-8")
    found = pinned(text)
    tag = found["tag"]
    digest = digest_of(tag, fetched(tag, plain_http=plain_http))
    if digest == found["digest"]:
        return f"{tag} is still {digest}"
    fresh = dockerfile.with_name(f"{dockerfile.name}.new")
    fresh.write_text(f"{text[: found.start()]}ARG PYTHON_IMAGE={tag}@{digest}{text[found.end() :]}", encoding="utf-8")
    fresh.replace(dockerfile)
    return f"{tag} was {found['digest'] or 'not pinned'}, is {digest}"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dockerfile", type=Path, default=DOCKERFILE)
    parser.add_argument("--plain-http", action="store_true", help="the registry has no TLS")
    given = parser.parse_args()
    try:
        told = renew(given.dockerfile, plain_http=given.plain_http)
    except (OSError, BaseImageError) as error:
        sys.stderr.write(f"base-image: {error}\n")
        return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
