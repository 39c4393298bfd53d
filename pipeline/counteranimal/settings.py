"""Settings of one machine: where state lives, how many processes run, which services are used.

Decides the origin and precedence of every value: command line, then `COUNTERANIMAL_*` in the environment, then
`counteranimal.toml` in the working folder, then the default. What is measured and published is decided by the `recipe`, never
here: two machines with other settings must freeze the same release.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from counteranimal.errors import UsageError

__all__ = ["Settings", "load_settings"]


class Settings(BaseSettings):
    """Frozen settings; every field can be set as `COUNTERANIMAL_<FIELD>` or in `counteranimal.toml`."""

    model_config = SettingsConfigDict(
        env_prefix="COUNTERANIMAL_", toml_file="counteranimal.toml", frozen=True, extra="forbid"
    )

    home: Path = Field(default=Path(".counteranimal"), description="workspace folder: blobs, journal, tables")
    journal_url: str = Field(
        default="", description="SQLAlchemy URL of a shared journal; empty: SQLite in the workspace"
    )
    store: Path | None = Field(
        default=None,
        description="folder of the photos' bytes; homes that share a journal may share it (default: in home)",
    )
    claim_seconds: Annotated[float, Field(ge=0.5)] = Field(
        default=120.0, description="a run that shares a journal and shows no sign of life for so long is taken for dead"
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=min(8, os.cpu_count() or 1), description="local processes or threads for per-photo work"
    )
    pool: Annotated[str, Field(pattern=r"^(processes|threads|(tcp|tls)://[^/\s]+:[0-9]+)$")] = Field(
        default="processes",
        description="where per-photo work runs: processes, threads, or the address of a Dask scheduler (tcp://host:8786)",
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(
        default=32, description="photos a forward pass; more are tried on an accelerator, fewer where memory runs out"
    )
    device: str = Field(
        default="auto", description="auto, cpu, cuda, cuda:N or mps; an evaluation uses several, separated by commas"
    )
    crop_cache_gb: Annotated[float, Field(ge=0)] = Field(
        default=20.0, description="gigabytes that crops kept for evaluations may take; 0: none are kept"
    )
    contact: str = Field(
        default="", description="e-mail or page sent in the User-Agent; needed to crawl the real world"
    )
    free_space_floor_mb: Annotated[int, Field(ge=0)] = Field(default=500, description="refuse to start below this")
    label_studio_url: str = Field(default="http://127.0.0.1:8181", description="Label Studio to push rounds to")
    label_studio_token: SecretStr = Field(default=SecretStr(""), description="its personal access or legacy token")
    label_studio_venv: Path = Field(default=Path(".venv-label-studio"), description="environment of the local server")
    photo_server: str = Field(default="127.0.0.1:8182", description="host:port where annotators' browsers get photos")
    cache: Path = Field(default=Path("~/.cache/counteranimal"), description="model files built once a machine")
    material: Path | None = Field(
        default=None, description="folder with the demo's Debian packages unpacked; none: the system's, else downloaded"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the origins: arguments, environment, the working folder's file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @property
    def cache_folder(self) -> Path:
        """The cache folder with `~` expanded; not created here."""
        return self.cache.expanduser()


def load_settings(**overrides: object) -> Settings:
    """Return the settings, with `overrides` (command line options that are not None) on top.

    Raises
    ------
    UsageError
        If a value is not of its type or `counteranimal.toml` has an unknown key; the sentence names the key.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "counteranimal.toml"
        raise UsageError(
            f"setting {key}: {first['msg']}; mend it in counteranimal.toml or COUNTERANIMAL_{key.upper()}"
        ) from error
    except ValueError as error:
        raise UsageError(f"counteranimal.toml cannot be read ({error}); mend the line it names") from error
