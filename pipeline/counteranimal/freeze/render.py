"""The files of a release as bytes, from a draft.

Decides what each file holds and the order in which digests are taken: content first, then the description of the content, then
release.json with the digest of every file but itself, then SHA256SUMS over all of them, then the signature. Pure: the same draft
and key give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.freeze.attribution import attribution_list
from counteranimal.freeze.card import card, changes
from counteranimal.freeze.croissant import croissant
from counteranimal.freeze.draft import Draft
from counteranimal.freeze.sign import sign
from counteranimal.release import manifest as manifests
from counteranimal.release import sums
from counteranimal.release.flat import entries_csv
from counteranimal.release.layout import ENTRIES_CSV, MANIFEST, SIGNATURE, SUMS, table_file
from counteranimal.release.manifest import FileRecord, Manifest

__all__ = ["render"]


def render(draft: Draft, key: Ed25519PrivateKey | None = None) -> dict[str, bytes]:
    """Return file name -> bytes, in the order in which they are to be written.

    Parameters
    ----------
    key : Ed25519PrivateKey, optional
        Without one the release is unsigned, says so in release.json, and is refused by whoever pins a key.
    """
    title = str(draft.manifest["title"] or draft.manifest["name"])
    files = {table_file(name): tables.parquet_bytes(table) for name, table in draft.tables.items()}
    files |= {
        ENTRIES_CSV: entries_csv(draft.tables["entries"]),
        "agreement.json": rfc8785.dumps(dict(draft.agreement)),
        "recipe.toml": draft.recipe_text.encode(),
        "ATTRIBUTION.md": attribution_list(title, draft.tables["entries"]),
        "CARD.md": card(draft).encode(),
        "CHANGES.md": changes(draft).encode(),
    }
    files["croissant.json"] = croissant(draft, _records(files))
    files[MANIFEST] = manifests.render(_manifest(draft, files, key))
    files[SUMS] = sums.render({name: sums.digest_of_bytes(data) for name, data in files.items()})
    if key is not None:
        files[SIGNATURE] = sign(key, files[SUMS]).render()
    return files


def _records(files: Mapping[str, bytes]) -> dict[str, FileRecord]:
    return {name: FileRecord(sha256=sums.digest_of_bytes(data), bytes=len(data)) for name, data in files.items()}


def _manifest(draft: Draft, files: Mapping[str, bytes], key: Ed25519PrivateKey | None) -> Manifest:
    signed_by = key.public_key().public_bytes_raw().hex() if key else None
    try:
        return Manifest(**draft.manifest, signed_by=signed_by, files=_records(files))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"the draft's {place} does not fit a release ({first['msg']}); report this as a bug"
        ) from error
