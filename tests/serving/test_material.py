"""Where the demo's packages are looked for, and what is said when they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from counteranimal.errors import IntegrityError, MissingDependency
from counteranimal.serving.material import PACKAGES, Material, find_material, obtain_material

APT = """#!/bin/sh
# Speaks the two words of apt-get that are used; `lists` decides whether the package is known yet.
case "$*" in
  *update*) touch "$APT_STATE/updated" ;;
  *download*)
    if [ -n "$APT_OFFLINE" ]; then echo "E: Unable to locate package" >&2; exit 100; fi
    for package; do :; done
    case "$*" in *Dir::State*) ;; *) echo "E: Unable to locate package $package" >&2; exit 100 ;; esac
    echo "$package" >> "$APT_STATE/downloads"; touch "${package}_1_all.deb" ;;
esac
"""
DPKG = """#!/bin/sh
case "$2" in
  *gcompris*) file=usr/share/gcompris-qt/rcc/explore_world_animals.rcc ;;
  *stamps*) file=usr/share/tuxpaint/stamps/animals/birds/ostrich.png ;;
  *tuxpaint-data*) file=usr/share/tuxpaint/templates/ocean_waves.jpg ;;
  *) file=usr/share/backgrounds/mate/nature/GreenMeadow.jpg ;;
esac
mkdir -p "$3/$(dirname $file)"; touch "$3/$file"
"""


@pytest.fixture
def bare_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with a small apt-get and dpkg-deb in front, and a system that has none of the packages installed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("APT_STATE", str(tmp_path))
    if find_material(tmp_path / "nowhere") is not None:
        pytest.skip("the packages are installed on this system")
    return tmp_path


def test_packages_are_downloaded_and_unpacked_once(bare_system: Path) -> None:
    """Without root and without package lists they come into the cache, and a second run asks for nothing."""
    cache = bare_system / "cache"
    first = obtain_material(cache)
    assert first == obtain_material(cache) == find_material(cache)
    assert sorted((bare_system / "downloads").read_text().split()) == sorted(PACKAGES)
    assert (bare_system / "updated").exists()


def test_a_stopped_download_goes_on(bare_system: Path) -> None:
    """Packages that are unpacked stay; only the missing one is asked for."""
    cache = bare_system / "cache"
    root = obtain_material(cache).root
    (bare_system / "downloads").unlink()
    (root / PACKAGES["mate-backgrounds"]).unlink()
    obtain_material(cache)
    assert (bare_system / "downloads").read_text().split() == ["mate-backgrounds"]


def test_without_a_network_the_sentence_says_what_to_install(
    bare_system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apt that finds nothing ends in one sentence with the packages' names and the command."""
    monkeypatch.setenv("APT_OFFLINE", "1")
    with pytest.raises(MissingDependency, match=r"sudo apt-get install gcompris-qt-data .*mate-backgrounds"):
        obtain_material(bare_system / "cache")


def test_another_system_is_told_what_to_do(bare_system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no apt, the sentence says so."""
    monkeypatch.setenv("PATH", str(bare_system / "empty"))
    with pytest.raises(MissingDependency, match="this system has no apt"):
        obtain_material(bare_system / "cache")


def test_a_named_folder_is_not_searched_beyond(tmp_path: Path) -> None:
    """A folder that the settings name and that lacks packages is an error, not a reason to download."""
    with pytest.raises(MissingDependency, match="lacks the Debian package"):
        obtain_material(tmp_path / "cache", root=tmp_path)


def test_a_missing_file_names_its_path(tmp_path: Path) -> None:
    """A package that lost a file is named by the file."""
    with pytest.raises(IntegrityError, match=r"rocks\.jpg"):
        Material(tmp_path).read("usr/share/tuxpaint/templates/rocks.jpg")
