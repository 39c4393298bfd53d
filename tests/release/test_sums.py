"""SHA256SUMS: one spelling, safe paths, digests of plain files only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counteranimal.errors import IntegrityError
from counteranimal.release.sums import digest_of_bytes, digest_of_file, parse, render

_D = "0" * 64
_PATHS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(lambda path: ".." not in path)


@given(st.dictionaries(_PATHS, st.binary(max_size=4).map(digest_of_bytes), min_size=1))
def test_reads_what_it_writes(digests: dict[str, str]) -> None:
    """A written list is read back, unless two of its paths are one where case is ignored."""
    if len({path.casefold() for path in digests}) == len(digests):
        assert parse(render(digests)) == digests


@pytest.mark.case("H10")
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../entries.csv", "leaves the folder"),
        ("a/../../b", "leaves the folder"),
        ("..", "leaves the folder"),
        ("/etc/passwd", "is absolute"),
        ("C:x", "is absolute"),
        ("a\\b", "characters"),
        ("./a", "characters"),
        ("a//b", "characters"),
        ("-rf", "characters"),
        ("a b", "characters"),
        (".hidden", "characters"),
        ("a\x00b", "characters"),
    ],
)
def test_refuses_unsafe_paths(path: str, why: str) -> None:
    """A path that could leave the folder, or that systems read differently, is refused by its line."""
    with pytest.raises(IntegrityError, match=f"line 2 lists .*{why}"):
        parse(f"{_D}  good.txt\n{_D}  {path}\n".encode())


@pytest.mark.case("H10")
@pytest.mark.parametrize(
    ("second", "why"),
    [("a/b", "folder of another"), ("a", "stands twice"), ("A", "stands twice"), ("A/b", "folder of another")],
)
def test_refuses_paths_that_clash(second: str, why: str) -> None:
    """A repeated path, and a path that is the folder of another, are refused, also where only case differs."""
    with pytest.raises(IntegrityError, match=f"line 2 lists .*{why}"):
        parse(f"{_D}  a\n{_D}  {second}\n".encode())
    with pytest.raises(IntegrityError, match="line 2 lists"):
        parse(f"{_D}  {second}\n{_D}  a\n".encode())


@pytest.mark.case("H05")
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", "is empty"),
        (f"{_D}  a".encode(), "line 1 is cut short"),
        (f"{_D}  a\n{_D[:30]}".encode(), "line 2 is cut short"),
        (f"{_D}  a\r\n".encode(), r"line 1 lists 'a\\r'"),
        (f"\ufeff{_D}  a\n".encode(), "line 1 is not plain text"),
        (f"{_D}  a\n\n".encode(), "line 2 is not a digest"),
        (f"{_D} *a\n".encode(), "line 1 is not a digest"),
        (f"{'A' * 64}  a\n".encode(), "line 1 is not a digest"),
        (f"{_D}  a\ntrailing\n".encode(), "line 2 is not a digest"),
        (f"\\{_D}  a\n".encode(), "line 1 is not a digest"),
    ],
)
def test_refuses_other_spellings(data: bytes, place: str) -> None:
    """Only the one spelling is read; anything else is refused with its line."""
    with pytest.raises(IntegrityError, match=place):
        parse(data)


@pytest.mark.case("H10")
def test_never_follows_links(tmp_path: Path) -> None:
    """A link, a folder and a pipe in a file's place are refused and never opened for reading."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(IntegrityError, match=name):
            digest_of_file(tmp_path / name)
