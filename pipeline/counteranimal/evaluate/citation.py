"""What to cite: the release by its digest, the paper that proposed the benchmark, and this software, from a document of results.

Decides the words. Figures are those of the document's headline, so a citation cannot say what the results do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counteranimal.release.read import Release

__all__ = ["PAPER", "citation"]

PAPER = (
    'Q. Wang et al., "Do CLIPs Always Generalize Better than ImageNet Models?", NeurIPS 2024, arXiv:2403.11497 (the paper that '
    "proposed CounterAnimal)"
)
_BIBTEX_PAPER = """@misc{counteranimal-paper,
  title = {Do {CLIP}s Always Generalize Better than {ImageNet} Models?},
  author = {Wang, Qizhou and others},
  year = {2024},
  eprint = {2403.11497},
  archivePrefix = {arXiv}
}"""


def citation(release: Release, document: Mapping[str, Any]) -> str:
    """Return the text to cite and BibTeX entries, ending with a line feed.

    Parameters
    ----------
    release : Release
        The release evaluated.
    document : mapping
        Content of results.json.
    """
    about = document["counteranimal"]
    software = f"counteranimal {about['versions']['counteranimal']}"
    space = about["label_space"]
    asked = f"names {about['names']}, templates {about['templates']}" + (
        f", label space {space['name']}" if space else ""
    )
    return "\n".join(
        [
            f"Evaluated with {software} on {release.name} {release.version} ({release.manifest['date']}, digest {release.digest}),",
            f"{about['release']['photos_evaluated']} photos, {asked}, {', '.join(about['dtype'])} on {about['device']}.",
            *_headlines(release, about["headline"]),
            "",
            "Cite the release, the paper and the software:",
            f"- {release.manifest['title'] or release.name}, release {release.version} ({release.manifest['date']}), SHA256SUMS {release.digest}",
            f"- {PAPER}",
            f"- {software}, software",
            "",
            *_bibtex(release, software),
            _BIBTEX_PAPER,
            "",
        ]
    )


def _headlines(release: Release, headline: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[str]:
    marks = {"selector": ", which chose the split", "relative": ", a relative of the model that chose the split"}
    for split, rows in sorted(headline.items()):
        chosen = release.selectors.get(split, {}).get("spec", "a model that is not named")
        for row in rows:
            interval = (
                "" if row["low"] is None else f" (95 % interval {100 * row['low']:.1f} to {100 * row['high']:.1f})"
            )
            yield (
                f"{row['model']}{marks.get(row['mark'], '')}: 1 vs 1000 macro drop {100 * row['value']:.1f} points{interval}, "
                f"n {row['n']}, split {split} chosen by {chosen}, {row['fold']} fold."
            )


def _bibtex(release: Release, software: str) -> Iterator[str]:
    date = str(release.manifest["date"])
    entries = {
        f"{release.name}-{release.version}": {
            "title": release.manifest["title"] or release.name,
            "version": release.version,
            "date": date,
            "note": f"SHA256SUMS {release.digest}",
        },
        "counteranimal-software": {"title": "counteranimal", "version": software.partition(" ")[2], "note": "Software"},
    }
    for key, fields in entries.items():
        yield f"@misc{{{key},"
        yield ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        yield "}"
