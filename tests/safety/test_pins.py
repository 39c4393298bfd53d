"""What is installed is what was written down, and nothing known to be unsafe satisfies it."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[2]

# Package -> the first version without a hole that matters here.
FLOORS = {
    "aiohttp": "3.14.4",
    "pillow": "12.3.0",
    "torch": "2.10.0",
    "transformers": "5.2.1",
    "label-studio-sdk": "1.0.10",
    "prefect": "3.6.28",
    "starlette": "1.0.1",
    "urllib3": "2.7.0",
    "brotli": "1.2",
    "pyarrow": "14.0.1",
}
LIBWEBP_FLOOR = "1.3.2"


def pins(name: str) -> dict[str, Version]:
    """Return a constraints file as package -> version; a line that is no exact pin fails."""
    found = {}
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        operators = [item.operator for item in requirement.specifier]
        assert operators == ["=="], f"{name}: {text} is no exact pin; run make lock"
        assert "*" not in text, f"{name}: {text} is no exact pin; run make lock"
        found[canonicalize_name(requirement.name)] = Version(next(iter(requirement.specifier)).version)
    return found


def requirements() -> list[Requirement]:
    """Return every dependency that pyproject.toml names, our own extras left out."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lines = list(project["project"]["dependencies"])
    for group in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()):
        lines += group
    return [Requirement(line) for line in lines if not line.startswith("counteranimal")]


def too_old(name: str, found: Version) -> bool:
    """Say whether a version lies under its floor; the local part (+cpu) does not count."""
    return Version(found.public) < Version(FLOORS[name])


@pytest.mark.case("S01")
@pytest.mark.parametrize("name", ["constraints.txt", "constraints-label-studio.txt"])
def test_every_line_of_the_constraints_is_an_exact_pin(name: str) -> None:
    """An install today and one next year get the same versions."""
    assert len(pins(name)) > 100


@pytest.mark.case("S01")
def test_the_constraints_cover_and_satisfy_every_dependency() -> None:
    """No dependency of the project is left to the resolver, and no pin contradicts what the project asks for."""
    known = pins("constraints.txt")
    for requirement in requirements():
        pinned = known.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement.name} has no pin in constraints.txt; run make lock"
        assert requirement.specifier.contains(pinned), f"{requirement} is pinned to {pinned}; run make lock"


@pytest.mark.case("S02")
@pytest.mark.parametrize("name", sorted(FLOORS))
def test_installed_versions_stand_on_or_above_their_floor(name: str) -> None:
    """A package with a known hole is not in this environment."""
    try:
        found = Version(version(name))
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed, so it cannot be too old")
    assert not too_old(name, found), f"{name} {found} is older than {FLOORS[name]}; install from constraints.txt"


@pytest.mark.case("S02")
def test_pins_and_lower_bounds_stand_on_or_above_their_floor() -> None:
    """Neither the lock nor the loosest install that pyproject.toml allows reaches below a floor."""
    for name, pinned in pins("constraints.txt").items():
        assert name not in FLOORS or not too_old(name, pinned), f"{name} {pinned}"
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        lowest = [Version(item.version) for item in requirement.specifier if item.operator in {">=", "=="}]
        if name in FLOORS:
            assert lowest, f"{requirement} has no lower bound"
            assert not too_old(name, max(lowest)), f"{requirement} allows versions below {FLOORS[name]}"
    assert pins("constraints-label-studio.txt")["label-studio"] >= Version("1.23.2")


@pytest.mark.case("S02")
@pytest.mark.parametrize(
    ("name", "old"), [("aiohttp", "3.14.3"), ("pillow", "12.2.9"), ("transformers", "5.2.0"), ("torch", "2.9.1+cpu")]
)
def test_the_check_finds_versions_below_a_floor(name: str, old: str) -> None:
    """The check itself fails where it should."""
    assert too_old(name, Version(old))


@pytest.mark.case("S02")
def test_pillow_brings_a_mended_libwebp() -> None:
    """CVE-2023-4863 lies in the bundled library, not in Pillow's version."""
    from PIL import features

    found = features.version("webp")
    assert found is None or Version(found) >= Version(LIBWEBP_FLOOR)
