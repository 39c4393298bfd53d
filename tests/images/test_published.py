"""The published copy: the same pixels and nothing else."""

from __future__ import annotations

import io
import zipfile
import zlib

import pytest
from PIL import Image, ImageCms

from counteranimal.errors import Reason, Rejected
from counteranimal.images import decode
from counteranimal.published import published_copy

SECRETS = [
    b"52.5163",
    b"SN-4711",
    b"Ada Lovelace",
    b"Berlin",
    b"Region-Person",
    b"my comment",
    b"PK\x03\x04",
    b"<script",
]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><mwg-rs:Name>Region-Person</mwg-rs:Name>Ada Lovelace</x:xmpmeta>"


def rich_exif(orientation: int = 1) -> Image.Exif:
    """Return EXIF with a position, a serial number and an artist."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = "Ada Lovelace"
    exif.get_ifd(0x8769)[0xA431] = "SN-4711"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 58.68), 29: "Berlin 52.5163"})
    return exif


def rich_files(photo, encode, segment, insert) -> list[bytes]:
    """Return files of every format and orientation that are full of metadata."""
    iptc = segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x12\x1c\x02\x50\x00\x0cAda Lovelace")
    private = segment(0xEB, b"HDR Berlin") + segment(0xE0, b"JFXX\x00\x10Berlin")
    files = []
    for orientation in range(1, 9):
        scene = photo(orientation, (150, 110))
        exif = rich_exif(orientation)
        jpeg = encode(scene, exif=exif, xmp=XMP, comment=b"my comment", progressive=bool(orientation % 2))
        files.append(insert(jpeg, iptc + private))
        png = encode(scene, "PNG", exif=exif, icc_profile=srgb_profile())
        files.append(png[:-12] + chunk(b"tEXt", b"Artist\x00Ada Lovelace") + chunk(b"iTXt", XMP) + png[-12:])
        files.append(
            encode(scene, "WEBP", exif=exif, xmp=XMP, icc_profile=srgb_profile(), lossless=bool(orientation % 2))
        )
    return files


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a PNG chunk."""
    return len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big")


def srgb_profile() -> bytes:
    """Return a colour profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.case("C09")
def test_no_published_copy_says_where_when_or_by_whom(photo, encode, segment, insert):
    """Position, serial number, artist, XMP, IPTC and comments are gone; only orientation and colour profile are left."""
    for data in rich_files(photo, encode, segment, insert):
        assert any(secret in data for secret in SECRETS)
        copy = published_copy(data)
        assert not [secret for secret in SECRETS if secret in copy]
        with Image.open(io.BytesIO(copy)) as image:
            assert set(image.getexif()) <= {0x0112}
            assert not image.getexif().get_ifd(0x8825)
            assert not {"xmp", "comment", "photoshop", "Artist"} & set(image.info)


@pytest.mark.case("C09")
def test_a_thousand_files_publish_nothing_of_theirs(photo, encode, segment, insert):
    """A thousand files, each with a position, serial number, name, region and caption of its own: not one is in any copy."""
    scenes = {kind: encode(photo(1, (80, 64)), kind) for kind in ("JPEG", "PNG", "WEBP")}
    with Image.open(io.BytesIO(scenes["WEBP"])) as opened:
        canvas = opened.copy()
    for number in range(1000):
        secret = f"Ada-{number:04d}-52.{number:04d}"
        exif = rich_exif(number % 8 + 1)
        exif[0x013B], exif.get_ifd(0x8769)[0xA431] = secret, f"SN-{secret}"
        exif.get_ifd(0x8825)[29] = secret
        xmp = XMP.replace(b"Region-Person", secret.encode())
        kind = ("JPEG", "PNG", "WEBP")[number % 3]
        if kind == "JPEG":
            iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x18\x1c\x02\x50\x00\x12" + secret.encode()
            blocks = [(0xE1, exif.tobytes()), (0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + xmp), (0xED, iptc)]
            data = insert(scenes[kind], b"".join(segment(marker, payload) for marker, payload in blocks))
        elif kind == "PNG":
            texts = chunk(b"eXIf", exif.tobytes()[6:]) + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
            data = scenes[kind][:-12] + texts + scenes[kind][-12:]
        else:
            data = encode(canvas, kind, exif=exif, xmp=xmp, method=0)
        assert secret.encode() in data
        copy = published_copy(data)
        assert secret.encode() not in copy
        assert not [word for word in (*SECRETS, b"Ada-", b"52.") if word in copy]


@pytest.mark.case("C09")
@pytest.mark.case("C08")
def test_a_published_copy_has_the_same_pixels_and_is_its_own_copy(photo, encode, segment, insert):
    """In all formats and orientations the stored pixels, the upright ones and the orientation are equal, and again so."""
    for data in rich_files(photo, encode, segment, insert):
        copy = published_copy(data)
        assert published_copy(copy) == copy
        assert decode(copy).tobytes() == decode(data).tobytes()
        with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(copy)) as after:
            assert after.tobytes() == before.tobytes()
            assert after.getexif().get(0x0112, 1) == before.getexif().get(0x0112, 1)
            assert after.info.get("icc_profile") == before.info.get("icc_profile")


@pytest.mark.case("C07")
def test_archives_and_scripts_do_not_travel_with_a_photo(photo, encode, segment, insert):
    """A file that is a photo and an archive, or a photo and a page, is published as the photo alone."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("payload.js", "alert(1)")
    page = b"<script>alert(1)</script>"
    jpeg, png, webp = (encode(photo(), kind) for kind in ("JPEG", "PNG", "WEBP"))
    for clean in (jpeg, png, webp):
        for tail in (archive.getvalue(), page):
            copy = published_copy(clean + tail)
            assert copy == published_copy(clean)
            assert not zipfile.is_zipfile(io.BytesIO(copy))
    hidden = insert(jpeg, segment(0xFE, b"*/=1;" + page) + segment(0xE4, archive.getvalue()) + page)
    assert published_copy(hidden) == published_copy(jpeg)
    inside = png[:-12] + chunk(b"prVt", page) + png[-12:]
    assert published_copy(inside) == published_copy(png)


@pytest.mark.case("C07")
def test_nothing_hides_behind_the_end_of_a_pngs_pixels(photo, encode):
    """Bytes after the end of the compressed stream, inside its chunk, are left out."""
    png = encode(photo(), "PNG")
    assert published_copy(png[:-12] + chunk(b"IDAT", b"<script>alert(1)</script>") + png[-12:]) == published_copy(png)


def test_a_second_picture_in_one_file_is_left_out(photo, encode):
    """A multi-picture file of a phone is published as its first picture."""
    both = encode(photo(1), "MPO", save_all=True, append_images=[photo(2)])
    with Image.open(io.BytesIO(published_copy(both))) as image:
        assert image.format == "JPEG"
    assert decode(both).tobytes() == decode(published_copy(both)).tobytes()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[:-30], Reason.TRUNCATED),
        (lambda data: data[:2] + b"\xff\xe0\x00\x00" + data[2:], Reason.DECODE),
    ],
)
def test_a_malformed_file_has_no_copy(photo, encode, harm, reason):
    """A broken file is rejected with its reason rather than published as it is."""
    with pytest.raises(Rejected) as caught:
        published_copy(harm(encode(photo())))
    assert caught.value.reason is reason


@pytest.mark.shared
def test_copies_of_real_photos_have_the_same_pixels(shared_data):
    """Every tenth real photo decodes to the same pixels from its copy, which is not larger."""
    paths = sorted(path for name in ("pets", "wikimedia") for path in (shared_data / "photos" / name).iterdir())
    for path in paths[::10]:
        data = path.read_bytes()
        copy = published_copy(data)
        assert len(copy) <= len(data)
        assert decode(copy).tobytes() == decode(data).tobytes()
