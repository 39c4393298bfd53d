"""Obtains the Debian packages whose photos the demo stands on, and finds files inside them.

Decides where they are looked for: a folder that the caller names, the running system, then a folder of the cache that they are
downloaded and unpacked into without root. Leaves what the photos show to `scenes` and `animals`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from counteranimal.errors import EnvironmentFailure, IntegrityError, MissingDependency
from counteranimal.progress import track
from counteranimal.serving.origins import Origin, debian_origin
from counteranimal.workspace import write_atomically

__all__ = ["PACKAGES", "Material", "find_material", "obtain_material"]

# One file of each package that tells whether it is there.
PACKAGES = {
    "gcompris-qt-data": "usr/share/gcompris-qt/rcc/explore_world_animals.rcc",
    "tuxpaint-stamps-default": "usr/share/tuxpaint/stamps/animals/birds/ostrich.png",
    "tuxpaint-data": "usr/share/tuxpaint/templates/ocean_waves.jpg",
    "mate-backgrounds": "usr/share/backgrounds/mate/nature/GreenMeadow.jpg",
}
_DOWNLOAD_SECONDS = 900
_ADVICE = (
    "on Debian run `sudo apt-get install "
    + " ".join(PACKAGES)
    + "`, or set COUNTERANIMAL_MATERIAL to a folder that holds "
    "them unpacked; without them crawl a folder of your own photos instead"
)


@dataclass(frozen=True, slots=True)
class Material:
    """The packages' files below `root`, which is `/` for installed packages."""

    root: Path

    def path(self, name: str) -> Path:
        """Return where a file such as `usr/share/tuxpaint/templates/rocks.jpg` lies."""
        return self.root / name

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raises IntegrityError if the package lacks it."""
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            raise IntegrityError(
                f"{self.path(name)} cannot be read ({error.strerror}); delete {self.root} if it is a cache, and run again"
            ) from error

    def origin(self, package: str, path: str) -> Origin:
        """Return the origin of a file, named by its path in the source package, from the package's copyright file."""
        text = self.read(f"usr/share/doc/{package}/copyright").decode("utf-8", errors="replace")
        return debian_origin(text, path)


def _missing(root: Path) -> list[str]:
    return [package for package, probe in PACKAGES.items() if not (root / probe).is_file()]


def find_material(cache_folder: Path, *, root: Path | None = None) -> Material | None:
    """Return the packages where they are already at hand (named folder, system, cache), or None; downloads nothing."""
    places = [root] if root else [Path("/"), cache_folder / "material" / "root"]
    return next((Material(place) for place in places if not _missing(place)), None)


def obtain_material(cache_folder: Path, *, root: Path | None = None) -> Material:
    """Return the demo's packages, downloading and unpacking into the cache what neither it nor the system has.

    Each package is unpacked on its own and counts only once whole, so a run that was stopped goes on where it was.

    Parameters
    ----------
    cache_folder : Path
        `Settings.cache_folder`; the packages go to `material/root` below it.
    root : Path, optional
        A folder that already holds them unpacked; nothing else is then looked at.

    Raises
    ------
    MissingDependency
        If they cannot be had here: another system, no package lists, no network. The sentence names the packages.
    """
    found = find_material(cache_folder, root=root)
    if found:
        return found
    if root:
        raise MissingDependency(f"{root} lacks the Debian package(s) {', '.join(_missing(root))}; {_ADVICE}")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingDependency(f"the demo's photos come from Debian packages and this system has no apt; {_ADVICE}")
    target = cache_folder / "material" / "root"
    downloads = cache_folder / "material" / "downloads"
    try:
        target.mkdir(parents=True, exist_ok=True)
        downloads.mkdir(parents=True, exist_ok=True)
        for package in track(_pending(target), "Debian packages"):
            _unpack(_download(package, downloads), target)
            write_atomically(target / f".{package}.unpacked", b"")
    except OSError as error:
        raise EnvironmentFailure(
            f"the demo's photos cannot be unpacked into {target} ({error.strerror}); free some space and run again"
        ) from error
    if _missing(target):
        raise MissingDependency(
            f"the package(s) {', '.join(_missing(target))} do not hold the photos wanted; {_ADVICE}"
        )
    shutil.rmtree(downloads, ignore_errors=True)
    return Material(target)


def _pending(target: Path) -> list[str]:
    return [name for name in PACKAGES if not (target / f".{name}.unpacked").exists() or name in _missing(target)]


def _run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFailure(
            f"{command[0]} took longer than {_DOWNLOAD_SECONDS} s; look at the network and run again"
        ) from error


def _download(package: str, folder: Path) -> Path:
    """Return the package's file, asking apt with the system's lists first, then with lists of its own (no root needed)."""
    for old in folder.glob(f"{package}_*.deb"):
        old.unlink()  # what a stopped run left may be short
    outcome = _run("apt-get", "download", package, folder=folder)
    if outcome.returncode:
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        private = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder / 'apt'}")
        (folder / "apt" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        if not any(lists.glob("*Packages*")):
            _run("apt-get", *private, "update", folder=folder)
        outcome = _run("apt-get", *private, "download", package, folder=folder)
    debs = sorted(folder.glob(f"{package}_*.deb"))
    if outcome.returncode or not debs:
        said = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingDependency(f"apt cannot download {package} ({said}); {_ADVICE}")
    return debs[-1]


def _unpack(deb: Path, target: Path) -> None:
    outcome = _run("dpkg-deb", "-x", str(deb), str(target), folder=target)
    if outcome.returncode:
        said = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EnvironmentFailure(f"{deb.name} cannot be unpacked ({said}); free some space and run again")
    deb.unlink()
