"""Licence statements, and what a photo needs before it may be fetched."""

from __future__ import annotations

from datetime import datetime

import pytest

from counteranimal.crawl.candidates import Offer, judge
from counteranimal.crawl.licences import attribution, spdx_of
from counteranimal.recipe import DEFAULT_LICENCES

CC = "creativecommons.org"
STATEMENTS = [
    ("CC0-1.0", "CC0-1.0"),
    ("cc0", "CC0-1.0"),
    ("CC0 1.0", "CC0-1.0"),
    (f"https://{CC}/publicdomain/zero/1.0/", "CC0-1.0"),
    (f"http://{CC}/publicdomain/zero/1.0/legalcode", "CC0-1.0"),
    (f"https://{CC}/publicdomain/mark/1.0/deed.en", "LicenseRef-Public-Domain"),
    ("Public Domain Mark 1.0", "LicenseRef-Public-Domain"),
    ("LicenseRef-Public-Domain", "LicenseRef-Public-Domain"),
    ("CC-BY-4.0", "CC-BY-4.0"),
    ("cc-by-4.0", "CC-BY-4.0"),
    ("CC BY 1.0", "CC-BY-1.0"),
    ("CC BY-SA 2.5", "CC-BY-SA-2.5"),
    ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC-BY-SA-3.0"),
    ("Creative Commons Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
    (f"http://{CC}/licenses/by/4.0/", "CC-BY-4.0"),
    (f"https://{CC}/licenses/by/4.0", "CC-BY-4.0"),
    (f"HTTPS://WWW.{CC.upper()}/licenses/by/2.0/", "CC-BY-2.0"),
    (f"//{CC}/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
    (f"http://{CC}:80/licenses/by-nc/4.0/", "CC-BY-NC-4.0"),
    (f"https://{CC}/licenses/by-nc/3.0/de/", "CC-BY-NC-3.0"),
    (f"https://{CC}/licenses/by-sa/3.0/igo/", "CC-BY-SA-3.0"),
    (f"https://{CC}/licenses/by-nc-sa/4.0/deed.pt_br", "CC-BY-NC-SA-4.0"),
    (f"https://{CC}/licenses/by-nc-nd/4.0/legalcode.de", "CC-BY-NC-ND-4.0"),
    (f"https://{CC}/licenses/by-nd-nc/1.0/", "CC-BY-NC-ND-1.0"),
    (f"https://{CC}/licenses/by-nd/2.0/?ref=x", "CC-BY-ND-2.0"),
    ("  CC-BY-NC-SA-2.0 ", "CC-BY-NC-SA-2.0"),
    ("GFDL-1.2-only", "GFDL-1.2-only"),
    ("GFDL", None),
    (None, None),
    ("", None),
    ("   ", None),
    ("All rights reserved", None),
    ("© Ada, some rights reserved", None),
    ("Usage Conditions Apply", None),
    ("cc-by-nc", None),
    (f"https://{CC}/licenses/by/", None),
    (f"https://{CC}/licenses/by/9.0/", None),
    (f"https://{CC}/licenses/nc/1.0/", None),
    (f"https://{CC}/licenses/by-sa-nd/4.0/", None),
    (f"https://{CC}.example.net/licenses/by/4.0/", None),
    (f"https://example.net/?u={CC}/licenses/by/4.0/", None),
    ("ask me, probably CC BY 4.0", None),
]


@pytest.mark.case("D01")
@pytest.mark.parametrize(("raw", "spdx"), STATEMENTS)
def test_statement_reads_as_licence_and_version_or_unknown(raw, spdx):
    """A statement is one licence with its version, or unknown; nothing is guessed."""
    assert spdx_of(raw) == spdx


@pytest.mark.case("D01")
def test_codes_of_a_source_that_states_its_version():
    """A code without a version reads only where the source says which version its codes have."""
    codes = ["cc0", "cc-by", "cc-by-nc", "cc-by-sa", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd", "CC-BY", "c"]
    assert [spdx_of(code, default_version="4.0") for code in codes] == [
        "CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0",
        "CC-BY-4.0", None,
    ]  # fmt: skip


@pytest.mark.case("D01")
@pytest.mark.parametrize("raw", [None, "", "All rights reserved", "GFDL", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0"])
def test_missing_unknown_and_no_derivatives_are_turned_away(raw: str | None, now: datetime):
    """Missing, unknown and, by default, no-derivatives licences never reach a fetch."""
    row = judge("s", Offer("1", "http://h/1", class_id="dog", author="Ada", licence_raw=raw), DEFAULT_LICENCES, now)
    assert (row["status"], row["reason"], row["licence_raw"]) == ("rejected", "E_LICENSE", raw)


@pytest.mark.case("D04")
@pytest.mark.parametrize(("licence", "status"), [("CC-BY-4.0", "rejected"), ("CC0-1.0", "ok")])
def test_attribution_needs_an_author(licence: str, status: str, now: datetime):
    """Without an author a photo is only taken where the licence asks for none."""
    row = judge("s", Offer("1", "http://h/1", class_id="dog", author=" ", licence_raw=licence), DEFAULT_LICENCES, now)
    assert (row["status"], row["reason"]) == (status, "E_ATTRIBUTION" if status == "rejected" else None)


def test_photo_without_a_class_says_so_first(now: datetime):
    """A photo of no class of the recipe is a rejected row, not an absent one."""
    row = judge("s", Offer("1", "http://h/1"), DEFAULT_LICENCES, now)
    assert (row["status"], row["reason"], row["class_id"]) == ("rejected", "E_CLASS", None)


def test_attribution_sentences():
    """Each licence is credited in its own words."""
    assert attribution("CC-BY-NC-SA-2.5", "Ada") == "© Ada, some rights reserved (CC BY-NC-SA 2.5)"
    assert attribution("LicenseRef-Public-Domain", "NOAA") == "NOAA, public domain"
    assert attribution("Apache-2.0", "Ada") == "© Ada, licensed under Apache-2.0"
