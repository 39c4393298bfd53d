"""An evaluator's install, without any extra: a release is verified, and what is missing is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.small_release import Released, released, small

__all__ = ["released", "small"]

# What the extras bring and the base install does not (markdown-it comes with rich).
EXTRAS = (
    "dask", "duckdb", "fastapi", "httpx", "krippendorff", "label_studio_sdk", "numba", "prefect", "psycopg", "requests",
    "simplejpeg", "tomlkit", "urllib3",
)  # fmt: skip
BLOCKED = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None
from counteranimal.cli import main
main()
"""


def run(*arguments: str, at: Path, code: int = 0) -> str:
    """Run a verb in a process where importing an extra fails, and return what it says."""
    command = [sys.executable, "-c", BLOCKED, *arguments]
    environment = {
        **os.environ, "COUNTERANIMAL_CONTACT": "someone@example.org", "COUNTERANIMAL_LABEL_STUDIO_TOKEN": "none"
    }  # fmt: skip
    done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_release_is_verified_without_any_extra(released: Released, tmp_path: Path) -> None:
    """The command line starts, and what an evaluator begins with works."""
    said = run(
        "verify", str(released.folder), "--key", str(released.public_key), "--photos", str(released.photos), at=tmp_path
    )
    assert "verifies" in said


def test_verbs_that_need_an_extra_name_it(tmp_path: Path) -> None:
    """Asking an API, looking at a Label Studio server and serving schedules end with 4 and the extra to install."""
    (tmp_path / "r.toml").write_text(
        'name = "r"\n[[sources]]\nname = "inat"\nkind = "inaturalist"\nhosts = ["api.inaturalist.org"]\n'
        '[[classes]]\nid = "fox"\nname = "fox"\nimagenet = [277]\ntaxa = [{ name = "Vulpes vulpes" }]\n'
    )
    assert "install counteranimal[crawl]" in run("recipe", "pin", "r.toml", at=tmp_path, code=4)
    assert "counteranimal[annotate]" in run("label-studio", "doctor", at=tmp_path, code=4)
    assert "counteranimal[flows]" in run("serve", "-r", "r.toml", at=tmp_path, code=4)
