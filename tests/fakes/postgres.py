"""A PostgreSQL of our own: made in a temporary folder by a user that is not root, reached by a socket file only, stopped at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import sqlalchemy as sa


def programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl` of the newest version that Debian has installed, None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A running server; `new_database` returns the URL of an empty database."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder
        self._number = 0

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="counteranimal-pg-"))
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._home, account.pw_uid, account.pw_gid)
        self._run(
            "initdb", "-D", str(self._home / "data"), "-A", "trust", "-U", "curator", "--no-sync", "--locale=C.UTF-8"
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={self._home} -c max_connections=40"
        self._run(
            "pg_ctl",
            "-D",
            str(self._home / "data"),
            "-w",
            "-t",
            "30",
            "-l",
            str(self._home / "log"),
            "-o",
            options,
            "start",
        )
        return self

    def __exit__(self, *reason: object) -> None:
        self._run("pg_ctl", "-D", str(self._home / "data"), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.getuid() == 0 else None
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True, user=user, cwd=self._home, stdout=subprocess.DEVNULL, timeout=60, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://curator@/{name}?host={self._home}"

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        self._number += 1
        name = f"journal{self._number}"
        engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self._url(name)
