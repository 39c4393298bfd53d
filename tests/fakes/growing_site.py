"""An upstream that lists new observations from week to week, and every way in which an offered photo can end among them.

Of the photos of a week some have the bytes of another, are a re-encoded copy of one, have no licence, are gone, or are no picture. What
the bytes and the background of a photo are follows from its number, so that every month on it offers the same.
"""

from __future__ import annotations

import io
from typing import Any

from aiohttp import web
from PIL import Image

from counteranimal.ids import photo_id_of
from tests.fakes.crawled_site import CrawledSite, jpeg

BACKGROUNDS = ("grass", "water", "sky")
TAXA = (7, 9)
_A_WEEK = 1000


class GrowingSite(CrawledSite):
    """The site; `weeks` have passed, each of which brought `photos` observations of one photo."""

    def __init__(self, photos: int) -> None:
        super().__init__()
        self.photos, self.weeks = photos, 0
        self.sent: list[str] = []
        """The path of every request, in order."""

    def numbers(self) -> list[int]:
        """Return the numbers of all photos listed so far."""
        return [week * _A_WEEK + n for week in range(1, self.weeks + 1) for n in range(self.photos)]

    def forget(self) -> None:
        """Be as before the first week, and forget who asked for what."""
        self.weeks = 0
        self.sent.clear()

    @staticmethod
    def ends(number: int) -> str:
        """Return what becomes of a photo: stored, E_LICENSE (never asked for), or gone and broken (asked for in vain)."""
        return {5: "E_LICENSE", 11: "gone", 17: "broken"}.get(number % _A_WEEK % 20, "stored")

    @staticmethod
    def bytes_of(number: int) -> bytes:
        """Return a photo; the eighth of twenty has the bytes of the one before, the fourteenth is a smaller copy of the one before."""
        place = number % _A_WEEK % 20
        if place == 8:
            return jpeg(number - 1)
        if place == 14:
            sink = io.BytesIO()
            Image.open(io.BytesIO(jpeg(number - 1))).save(sink, "JPEG", quality=60)
            return sink.getvalue()
        return jpeg(number)

    def truth(self) -> dict[str, str]:
        """Return photo id -> background of what is listed and can be stored."""
        listed = [number for number in self.numbers() if self.ends(number) == "stored"]
        return {photo_id_of(self.bytes_of(number)): BACKGROUNDS[number % 3] for number in reversed(listed)}

    def labelling(self) -> str:
        """Return what two people say of every photo, as a table; the second sees one in sixteen differently."""
        rows = []
        for name, word in sorted(self.truth().items()):
            other = BACKGROUNDS[(BACKGROUNDS.index(word) + name.startswith("0")) % 3]
            rows.append(f"{name},{word},none,{other},none")
        return "\n".join(["sha256,background_1,flags_1,background_2,flags_2", *rows]) + "\n"

    def _record(self, number: int) -> dict[str, Any]:
        licence = None if self.ends(number) == "E_LICENSE" else "cc-by"
        observer = number // 4
        photo = {"id": number, "license_code": licence, "url": f"{self.url}/photos/{number}/square.jpg"}
        return {
            "id": number, "uri": f"{self.url}/observations/{number}", "photos": [photo], "tags": [], "observed_on": "2026-10-01",
            "user": {"id": observer, "login": f"observer-{observer}"}, "taxon": {"id": TAXA[number % 2], "name": "Canis"},
        }  # fmt: skip

    def _listing(self, query: Any) -> web.Response:
        above, most, taxon = (int(query[name]) for name in ("id_above", "per_page", "taxon_id"))
        found = [n for n in self.numbers() if n > above and TAXA[n % 2] == taxon]
        return web.json_response({"total_results": len(found), "results": [self._record(n) for n in found[:most]]})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.sent.append(request.path)
        if request.path == "/v1/observations":
            return self._listing(request.query)
        if not request.path.startswith("/photos/"):
            return web.Response(status=404)
        number = int(request.path.split("/")[2])
        end = self.ends(number)
        if number not in self.numbers() or end == "gone":
            return web.Response(status=404)
        return web.Response(body=b"<svg/>" if end == "broken" else self.bytes_of(number), content_type="image/jpeg")
