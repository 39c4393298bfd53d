"""croissant.json: the release described in Croissant 1.1, for tools that load datasets by their description.

Decides how tables and columns read in that vocabulary, and the statements on data collection and limits that venues ask for
(the RAI extension). Written to the Croissant 1.1 specification, its appendix 1 for the JSON-LD context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.freeze.draft import Draft
from counteranimal.release.columns import DESCRIPTIONS
from counteranimal.release.layout import PUBLISHED_TABLES, table_file
from counteranimal.release.licences import licence_url
from counteranimal.release.manifest import FileRecord

__all__ = ["croissant"]

_OWN_TERMS = [
    "annotation",
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "excludes",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "readLines",
    "repeated",
    "replace",
    "samplingRate",
    "sdVersion",
    "separator",
    "source",
    "subField",
    "transform",
    "unArchive",
    "value",
]
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _OWN_TERMS},
}


def croissant(draft: Draft, files: Mapping[str, FileRecord]) -> bytes:
    """Return the description as JSON-LD.

    Parameters
    ----------
    files : mapping of str to FileRecord
        The files to describe, by name; Parquet tables among them get a record set each.
    """
    manifest = draft.manifest
    name, version = str(manifest["name"]), str(manifest["version"])
    photos = manifest["counts"]["entries"]
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": (
            f"{manifest['title'] or name}: {photos} verified photos of {len(manifest['classes'])} animal classes with the "
            "background that annotators saw, and the pairs of backgrounds on which a model does well and badly. The tables name, "
            "credit and digest the photos; the photos themselves are fetched from their sources."
        ),
        "url": draft.terms.homepage or f"urn:counteranimal:{name}:{version}",
        "creator": {"@type": "sc:Organization", "name": draft.terms.publisher or f"the makers of {name}"},
        "license": [licence_url(item) or item for item in sorted(manifest["counts"]["licences"])],
        "version": version,
        "datePublished": manifest["date"],
        "isLiveDataset": False,
        "citeAs": f"{name} {version} ({manifest['date']})",
        **_responsible(draft),
        "distribution": [_file(item, record) for item, record in sorted(files.items())],
        "recordSet": [_record_set(item) for item in PUBLISHED_TABLES if table_file(item) in files],
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _responsible(draft: Draft) -> dict[str, Any]:
    manifest = draft.manifest
    return {
        "rai:dataCollection": "Photos offered by the sources of recipe.toml, kept where their own licence is allowed, freed of "
        "duplicates, and labelled by annotators.",
        "rai:dataCollectionMissingData": f"{sum(manifest['photos']['left_out'].values())} kept photos were left out: "
        + (", ".join(f"{reason} {count}" for reason, count in manifest["photos"]["left_out"].items()) or "none"),
        "rai:dataAnnotationProtocol": f"{manifest['counts']['votes']} votes on {manifest['counts']['entries']} photos; "
        "agreement.json gives the agreement.",
        "rai:dataLimitations": list(manifest["caveats"]),
        "rai:personalSensitiveInformation": "Authors are named where the licence asks for it. No coordinates are published, and "
        "photos in which annotators recognised a person are left out.",
        "rai:dataUseCases": "Measuring how much a recognition model leans on the background. Not meant for training.",
    }


def _file(name: str, record: FileRecord) -> dict[str, Any]:
    formats = {
        "parquet": "application/x-parquet",
        "csv": "text/csv",
        "json": "application/json",
        "toml": "application/toml",
        "md": "text/markdown",
    }
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{record.bytes} B",
        "encodingFormat": formats[name.rpartition(".")[2]],
        "sha256": record.sha256,
    }


def _record_set(name: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": [{"@id": f"{name}/{column}"} for column in tables.KEYS[name]],
        "field": [_field(name, column) for column in tables.schema_of(name)],
    }


def _field(name: str, column: pa.Field) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{name}/{column.name}",
        "name": column.name,
        "description": DESCRIPTIONS[name][column.name],
        "dataType": _data_type(column.type),
        "source": {"fileObject": {"@id": table_file(name)}, "extract": {"column": column.name}},
    }
    if pa.types.is_list(column.type):
        field |= {"isArray": True, "arrayShape": "-1"}
    if column.name == "photo_id" and name != "entries":
        field["references"] = {"field": {"@id": "entries/photo_id"}}
    return field


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _data_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
