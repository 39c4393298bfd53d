"""Authors and licences, as packages state them."""

from __future__ import annotations

from pathlib import Path

import pytest

from counteranimal.serving.material import Material
from counteranimal.serving.origins import debian_origin, readme_origins

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2002-2022 by Ada Lovelace <ada@example.org>
License: GPL-2

Files: nature/a.jpg
       nature/b.jpg
Copyright: 2007, Grace Hopper <grace@example.org>
           2008, Mary Anning
License: CC-BY-9.9

License: GPL-2
 either version 2 of the License, or
 (at your option) any later version.
"""


def test_the_last_matching_paragraph_counts() -> None:
    """A file named later has its own authors, without years and addresses."""
    assert debian_origin(COPYRIGHT, "nature/b.jpg").author == "Grace Hopper, Mary Anning"
    assert debian_origin(COPYRIGHT, "other.jpg").author == "Ada Lovelace"


def test_a_licence_is_what_its_text_grants() -> None:
    """Named GPL-2, granted with later versions: the grant counts."""
    assert debian_origin(COPYRIGHT, "other.jpg").licence == "GPL-2.0-or-later"
    assert debian_origin(COPYRIGHT.replace("any later", "no other"), "other.jpg").licence is None


def test_an_unknown_licence_is_not_guessed() -> None:
    """What is not known here has no licence, so that the crawl turns it away."""
    assert debian_origin(COPYRIGHT, "nature/a.jpg").licence is None


def test_a_readme_speaks_of_each_file() -> None:
    """Author, licence and page of each file named in a paragraph; other paragraphs say nothing about it."""
    text = "Copyright: Ada\nLicense: Public Domain\nSource: https://example.org/x\nFiles:\na.webp\n\nCopyright: B\nFiles:\nb.webp\n"
    found = readme_origins(text)
    assert (found["a.webp"].author, found["a.webp"].licence) == ("Ada", "LicenseRef-Public-Domain")
    assert found["a.webp"].page == "https://example.org/x"
    assert found["b.webp"].licence is None


@pytest.mark.material
def test_real_packages_state_a_licence(material_root: Path) -> None:
    """Stamps and scenes are under the GPL, version 2 or later, as their packages say."""
    material = Material(material_root)
    stamp = material.origin("tuxpaint-stamps-default", "stamps/animals/birds/ostrich.png")
    scene = material.origin("mate-backgrounds", "nature/Dune.jpg")
    assert (stamp.licence, scene.licence) == ("GPL-2.0-or-later", "GPL-2.0-or-later")
    assert scene.author == "Marco Cogoni, Hylke Bons"
