"""No secret and no package registry's host is in the files that the repository holds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "cloud access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "forge token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,})\b",
    "hub token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "chat token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "map key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "service key": r"\bsk-[A-Za-z0-9_-]{20,}\b",
    "signed token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "assigned secret": r"(?i)\b(?:api_?key|secret_?key|access_?token|auth_?token|password|passwd)\b\s*[:=]\s*"
    r"[\"'][A-Za-z0-9+/_=-]{24,}[\"']",
}
# In two halves, so that this file does not name them either.
REGISTRIES = [
    first + second
    for first, second in (
        ("py", "pi.org"), ("python", "hosted.org"), ("download.py", "torch.org"), ("conda.ana", "conda.org"),
        ("registry.npm", "js.org"), ("proxy.go", "lang.org"), ("deb.deb", "ian.org"), ("ftp.deb", "ian.org"),
    )
]  # fmt: skip


def held_files() -> list[Path]:
    """Return the files that are tracked or about to be; skips outside a git checkout."""
    git = shutil.which("git")
    if git is None or not (REPOSITORY / ".git").exists():
        pytest.skip("this is no git checkout, so there is no list of tracked files")
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    paths = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def secrets_in(text: str) -> list[str]:
    """Return the kinds of secret that a text holds."""
    return [kind for kind, pattern in SECRETS.items() if re.search(pattern, text)]


@pytest.mark.case("S05")
def test_no_tracked_file_holds_a_secret() -> None:
    """Keys and tokens of any known shape are nowhere, fixtures included."""
    found = [
        f"{path.relative_to(REPOSITORY)}: {kind}"
        for path in held_files()
        for kind in secrets_in(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.case("S05")
@pytest.mark.parametrize(
    "parts",
    [
        ("-----BEGIN ", "PRIVATE KEY-----"), ("-----BEGIN OPENSSH ", "PRIVATE KEY-----"), ("AKIA", "ABCDEFGHIJKLMNOP"),
        ("ghp_", "a1" * 18), ("hf_", "x" * 34), ("xoxb-", "1234567890-abc"), ("sk-", "abcdefghij0123456789"),
        ("eyJhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLWhlcmU"), ("api_key = ", "'" + "0f" * 20 + "'"),
    ],
)  # fmt: skip
def test_the_scan_finds_planted_secrets(parts: tuple[str, str]) -> None:
    """A secret of each shape is found in the middle of a text."""
    assert secrets_in(f"first line\n  {''.join(parts)}\nlast line")


def test_no_tracked_file_names_a_registry_host() -> None:
    """Where packages come from is the machine's own configuration."""
    found = [
        f"{path.relative_to(REPOSITORY)}: {host}"
        for path in held_files()
        for host in REGISTRIES
        if host in path.read_text(encoding="utf-8", errors="replace").lower()
    ]
    assert found == []


def test_no_tracked_file_is_a_pickle_or_a_checkpoint() -> None:
    """Formats that execute when they are read are not stored."""
    suffixes = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npz", ".npy"}
    assert [path for path in held_files() if path.suffix in suffixes] == []
