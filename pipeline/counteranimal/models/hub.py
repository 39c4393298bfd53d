"""Finds published weight files: on this machine first, over the network only where the network answers.

Decides that a missing file is said within seconds, with the hash that its address promises. The hub's own client retries for most of
a minute before it gives up; here one short question is asked first, and none at all where `HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counteranimal.errors import EnvironmentFailure, IntegrityError, UpstreamError
from counteranimal.models.files import sha256_of_file

__all__ = ["hub_file", "open_clip_weights", "promised_digest", "timm_weights", "torchvision_weights"]

PATIENCE_SECONDS = 3.0


def hub_file(repository: str, names: Sequence[str], *, what: str, ask: bool = True) -> Path:
    """Return the first of `names` that a hub repository holds, from this machine's cache where it is there.

    Parameters
    ----------
    repository : str
        `owner/name`, or `owner/name@revision`.
    names : sequence of str
        File names, best first (safetensors before a pickled checkpoint).
    what : str
        The model as the person asked for it, for messages.
    ask : bool
        Whether the network may be asked.

    Raises
    ------
    EnvironmentFailure
        If no such file is cached and the hub cannot be reached or is switched off.
    UpstreamError
        If the hub answers, but with none of the files.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    repo_id, _, revision = repository.partition("@")
    for name in names:
        cached = huggingface_hub.try_to_load_from_cache(repo_id, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    _require_network(constants.ENDPOINT, what=what, file=f"{repository}/{names[0]}", digest="", ask=ask)
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repo_id, name, revision=revision or None))
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise UpstreamError(f"weights of {what} could not be downloaded ({error}); run again later") from error
    raise UpstreamError(f"the hub's {repository} holds none of {', '.join(names)}; name other weights for {what}")


def promised_digest(url: str) -> str:
    """Return the sha256 that an address carries, whole or its first eight digits, as publishers of weights have it; else "".

    Examples
    --------
    >>> promised_digest("https://weights.example/models/resnet50-0676ba61.pth")
    '0676ba61'
    """
    found = re.search(r"/([0-9a-f]{64})/|-([0-9a-f]{8})\.[a-z]+$", url)
    return next(filter(None, found.groups())) if found else ""


def url_file(url: str, *, what: str, ask: bool = True) -> Path:
    """Return a published file from torch's download folder, downloading it where it is missing and `ask` allows it.

    A digest in its address is held against the bytes, also of a file that is there already.

    Raises
    ------
    EnvironmentFailure
        If it is not there and its host cannot be reached.
    UpstreamError
        If the download fails.
    IntegrityError
        If the file is not the one that its address promises.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    promised = promised_digest(url)
    if path.is_file():
        digest = sha256_of_file(path)
        if not digest.startswith(promised):
            raise IntegrityError(
                f"weight file {path} has sha256 {digest}, but its address promises {promised}; delete it and run again"
            )
        return path
    _require_network(url, what=what, file=path.name, digest=promised, ask=ask)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=promised or None, progress=False)
    except (OSError, RuntimeError) as error:
        raise UpstreamError(f"weights of {what} could not be downloaded ({error}); run again later") from error
    return path


def _require_network(url: str, *, what: str, file: str, digest: str, ask: bool) -> None:
    named = f"sha256 {digest}" if digest else "its tag names no hash"
    missing = f"weights of {what} ({file}, {named}) are not on this machine"
    remedy = (
        "run `counteranimal evaluate --weights-only` where there is a network, or use stand-in or efficientnet-lite2"
    )
    if not ask:
        raise EnvironmentFailure(f"{missing}; {remedy}")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise EnvironmentFailure(f"{missing} and HF_HUB_OFFLINE is set; {remedy}")
    import httpx

    try:
        httpx.head(url, timeout=PATIENCE_SECONDS, follow_redirects=False)
    except httpx.HTTPError as error:
        raise EnvironmentFailure(f"{missing} and their host cannot be reached; {remedy}") from error


def open_clip_weights(architecture: str, tag: str, published: dict[str, Any], *, ask: bool = True) -> Path:
    """Return the weight file that open_clip's tag stands for; `ask` as for `hub_file`."""
    what = f"open_clip:{architecture}/{tag}"
    if published.get("file"):
        return Path(published["file"])
    if published.get("hf_hub"):
        repository, _, name = str(published["hf_hub"]).rpartition("/")
        if not name:
            return hub_file(
                repository, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"), what=what, ask=ask
            )
        safe = str(Path(name).with_suffix(".safetensors"))
        return hub_file(repository, tuple(dict.fromkeys((safe, name))), what=what, ask=ask)
    return url_file(str(published["url"]), what=what, ask=ask)


def timm_weights(name: str, published: Any, *, ask: bool = True) -> Path:
    """Return the weight file that timm's tag stands for; `ask` as for `hub_file`."""
    if published.hf_hub_id:
        names = (
            (published.hf_hub_filename,) if published.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
        )
        return hub_file(published.hf_hub_id, names, what=f"timm:{name}", ask=ask)
    return url_file(published.url, what=f"timm:{name}", ask=ask)


def torchvision_weights(name: str, url: str, *, ask: bool = True) -> Path:
    """Return the weight file that torchvision's weights stand for; `ask` as for `hub_file`."""
    return url_file(url, what=f"torchvision:{name}", ask=ask)
