"""What the decoder accepts, and what pixels it returns."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from counteranimal.errors import Reason, Rejected
from counteranimal.images import ImageInfo, decode, grey_thumbnail, inspect, read_container, sniff


def reason_of(data: bytes) -> Reason | None:
    """Return why the decoder rejects the bytes, None if it does not."""
    try:
        decode(data)
    except Rejected as rejected:
        return rejected.reason
    return None


def apart(a: Image.Image, b: Image.Image) -> float:
    """Return the mean absolute difference of two pictures of one size."""
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def png_of(width: int, height: int, body: bytes = b"") -> bytes:
    """Return a PNG that announces a size and holds `body` as pixels."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.case("A18")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!doctype html><title>404</title>", Reason.TYPE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.TYPE),
        (b"RIFF\x00\x00\x00\x00AVI ", Reason.TYPE),
    ],
)
def test_bytes_that_are_no_photo_are_told_by_their_first_bytes(data, reason):
    """An error page, a drawing, or nothing is rejected by type, whatever it was called."""
    with pytest.raises(Rejected) as caught:
        sniff(data)
    assert caught.value.reason is reason


@pytest.mark.case("A18")
def test_one_pixel_is_too_small(photo, encode):
    """A tracking pixel is a valid image and no photo."""
    assert reason_of(encode(photo(size=(1, 1)))) is Reason.TOO_SMALL
    assert reason_of(encode(photo(size=(500, 63)))) is Reason.TOO_SMALL


@pytest.mark.case("C01")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_cut_file_is_accepted(photo, encode, kind):
    """A file cut anywhere, even by one byte, is rejected as truncated."""
    data = encode(photo(3, (320, 240)), kind)
    cuts = np.random.default_rng(5).integers(100, len(data) - 3, 50)
    for end in [*cuts.tolist(), len(data) - 3, len(data) - 2, len(data) - 1]:
        assert reason_of(data[:end]) is Reason.TRUNCATED, end


@pytest.mark.case("C01")
def test_the_end_of_an_embedded_preview_is_not_the_end_of_the_photo(photo, encode, segment, insert):
    """A cut photo whose EXIF preview is whole is still truncated."""
    data = insert(encode(photo(3)), segment(0xE1, b"Exif\x00\x00" + encode(photo(4, (64, 64)))))
    assert reason_of(data) is None
    assert reason_of(data[:-40]) is Reason.TRUNCATED


WAYS = {
    "baseline": ("JPEG", {}),
    "optimised": ("JPEG", {"optimize": True}),
    "full colour": ("JPEG", {"subsampling": 0, "quality": 95}),
    "progressive": ("JPEG", {"progressive": True}),
    "restarts by row": ("JPEG", {"restart_marker_rows": 1}),
    "restarts by block": ("JPEG", {"restart_marker_blocks": 5}),
    "grey": ("JPEG", {}),
    "cmyk": ("JPEG", {}),
    "webp": ("WEBP", {"quality": 80}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "png": ("PNG", {}),
}


def zeroed(data: bytes, start: int, end: int) -> bytes:
    """Return the bytes with a hole of zeros."""
    return data[:start] + bytes(end - start) + data[end:]


def verdict(data: bytes) -> str:
    """Return what intake makes of the bytes: a reason code, suspect, or ok."""
    try:
        return "suspect" if inspect(data).suspect else "ok"
    except Rejected as rejected:
        return str(rejected.reason)


@pytest.mark.case("C03")
@pytest.mark.parametrize("way", WAYS)
def test_a_file_whose_later_part_is_zeros_is_never_accepted_silently(photo, encode, way):
    """The right length and the right end prove nothing, at any cut point; the whole file is accepted."""
    kind, options = WAYS[way]
    mode = {"grey": "L", "cmyk": "CMYK"}.get(way, "RGB")
    rng = np.random.default_rng(6)
    for seed in (3, 4):
        data = encode(grained(photo(seed, (320, 240))).convert(mode), kind, **options)
        assert verdict(data) == "ok"
        for start in [len(data) // 2, *rng.integers(len(data) // 5, len(data) * 9 // 10, 12).tolist()]:
            for kept in (0, 2, 64):
                assert verdict(zeroed(data, start, len(data) - kept)) != "ok", (way, start, kept)


def grained(image: Image.Image) -> Image.Image:
    """Return the picture with a camera's grain, so that its compressed bytes end nowhere near zero."""
    grain = np.random.default_rng(1).normal(0, 4, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


@pytest.mark.case("C03")
def test_damage_is_told_from_what_only_looks_like_it(photo, encode, insert, segment):
    """Missing bytes are proof, bytes left over and scans left out are not: such a photo is suspect. Neither is found by decoding alone."""
    data = encode(grained(photo(3, (320, 240))))
    half = zeroed(data, len(data) // 2, len(data) - 2)
    assert reason_of(half) is None
    assert verdict(half) == "E_TRUNCATED"
    assert verdict(data[:-2] + b"\x55" * 40 + data[-2:]) == "suspect"
    progressive = encode(grained(photo(3, (320, 240))), progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    assert verdict(zeroed(progressive, last_scan, len(progressive) - 2)) == "suspect"
    assert verdict(insert(data, segment(0xFE, bytes(4000)))) == "ok"


@pytest.mark.case("C03")
@pytest.mark.parametrize("way", WAYS)
def test_flat_pictures_are_not_suspect(photo, encode, way):
    """A picture with wide even bands compresses to long runs of zeros, and is whole."""
    kind, options = WAYS[way]
    mode = {"grey": "L", "cmyk": "CMYK"}.get(way, "RGB")
    for colour in ("black", "white", (90, 140, 200)):
        banded = Image.new("RGB", (1200, 1200), colour)
        banded.paste(grained(photo(3, (1200, 200))), (0, 400))
        assert verdict(encode(banded.convert(mode), kind, **options)) == "ok"
        assert verdict(encode(Image.new("RGB", (1600, 1600), colour).convert(mode), kind, **options)) == "ok"


@pytest.mark.shared
@pytest.mark.case("C03")
def test_no_real_photo_is_suspect(shared_data):
    """Of all shared photos the one truncated file is turned away, and none is suspect; with its second half zeroed none is ok."""
    found = {}
    for path in sorted(shared_data.glob("photos/**/*")):
        if path.suffix in {".jpg", ".webp"}:
            data = path.read_bytes()
            found[path.name] = verdict(data)
            if len(data) < 300_000:
                assert verdict(zeroed(data, len(data) // 2, len(data) - 2)) != "ok"
    assert {name for name, said in found.items() if said != "ok"} == {"african_elephants_truncated_file.jpg"}
    assert len(found) >= 287


@pytest.mark.case("C04")
@pytest.mark.parametrize("size", [(13_000, 13_000), (178_956_970, 1), (0, 300), (12_001, 100), (8_000, 8_000)])
def test_impossible_sizes_are_bombs_before_a_pixel_is_decoded(size):
    """A few kilobytes that announce more pixels than any photo has are refused by their header."""
    assert reason_of(png_of(*size)) is Reason.BOMB


@pytest.mark.case("C04")
def test_a_png_that_unpacks_to_more_than_it_announces_is_a_bomb():
    """A small picture whose compressed stream is endless stops early."""
    assert reason_of(png_of(64, 64, bytes(50_000_000))) is Reason.BOMB


@pytest.mark.case("C05")
@pytest.mark.parametrize("kind", ["TIFF", "GIF", "BMP", "ICO", "PDF", "EPS", "AVIF", "JPEG2000", "PPM", "TGA"])
def test_other_image_formats_are_turned_away(photo, encode, kind):
    """Only JPEG, PNG and WebP are decoded, whatever Pillow could open."""
    assert reason_of(encode(photo(), kind)) is Reason.TYPE


@pytest.mark.case("C05")
def test_formats_that_pillow_only_reads_and_long_animations_are_turned_away(photo, encode):
    """PSD and FITS by their first bytes, and a GIF of 300 frames, are no photo."""
    frames = [Image.new("P", (64, 64), number % 256) for number in range(300)]
    for data in (
        b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 100, 100, 8, 3) + bytes(40_000),
        b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800) + bytes(2880),
        encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    ):
        assert reason_of(data) is Reason.TYPE


@pytest.mark.case("C05")
@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_animations_are_turned_away(photo, encode, kind):
    """An animated file in an accepted format is no photo."""
    frames = [photo(seed) for seed in range(4)]
    assert reason_of(encode(frames[0], kind, save_all=True, append_images=frames[1:])) is Reason.ANIMATED


@pytest.mark.case("C08")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_all_orientations_give_the_same_upright_pixels(photo, encode, kind):
    """Eight files of one scene, stored in eight orientations, decode to one picture, exactly."""
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
    scene = photo(1, (192, 128))
    for orientation, transposition in undo.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = scene if transposition is None else scene.transpose(Image.Transpose(transposition))
        found = decode(encode(stored, kind, exif=exif, **options))
        assert found.size == scene.size
        assert apart(found, scene) < (1.0 if kind == "JPEG" else 1e-9), orientation


@pytest.mark.case("C08")
def test_a_cmyk_photo_becomes_rgb(photo, encode):
    """Adobe's inverted CMYK decodes to the colours it was made from."""
    scene = photo(2)
    data = encode(scene.convert("CMYK"), quality=95)
    assert decode(data).mode == "RGB"
    assert apart(decode(data), scene) < 8


@pytest.mark.case("C08")
def test_sixteen_bit_grey_is_scaled_not_clipped(photo, encode):
    """A 16-bit picture keeps its brightness."""
    grey = photo(2).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert apart(decode(encode(deep, "PNG")), grey.convert("RGB")) == 0


@pytest.mark.case("C08")
def test_transparency_shows_white(photo, encode):
    """What is transparent becomes white, in true colour, grey and palette files alike."""
    scene = photo(2)
    clear = scene.copy()
    clear.putalpha(0)
    pictures = [clear, clear.convert("LA"), clear.convert("PA")]
    palette = scene.convert("P")
    palette.paste(7, (0, 0, *palette.size))
    for data in [*(encode(picture, "PNG") for picture in pictures[:2]), encode(palette, "PNG", transparency=7)]:
        assert decode(data).getextrema() == ((255, 255),) * 3
    assert apart(decode(encode(scene, "PNG")), scene) == 0


@pytest.mark.case("C08")
def test_a_colour_profile_is_honoured_and_a_broken_one_ignored(photo, encode):
    """A profile that exchanges red and green exchanges them; garbage in its place changes nothing."""
    scene = photo(2)
    profile = exchanged_profile()
    red, green, blue = scene.split()
    swapped = Image.merge("RGB", (green, red, blue))
    assert apart(decode(encode(scene, "PNG", icc_profile=profile)), swapped) < 4
    assert apart(decode(encode(scene, "PNG", icc_profile=profile[:130] + bytes(40))), scene) == 0
    assert apart(decode(encode(scene.convert("L"), "PNG", icc_profile=profile)), scene.convert("L").convert("RGB")) == 0


def test_an_srgb_profile_changes_no_pixel(photo, encode):
    """A photo that says it is sRGB equals its copy that says nothing."""
    scene = photo(2)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encode(scene, "PNG", icc_profile=profile)).tobytes() == scene.tobytes()


@pytest.mark.case("C10")
def test_hostile_exif_counts_as_none(photo, encode, segment, insert):
    """Loops, bad offsets, odd orientations and many blocks neither crash the decoder nor turn the photo."""
    scene = encode(photo(2))
    upright = decode(scene).tobytes()
    entry = struct.pack(">HHII", 0x0112, 3, 1, 6 << 16)
    blocks = [
        b"",
        b"MM\x00*",
        b"MM\x00*\xff\xff\xff\xff",
        b"MM\x00*\x00\x00\x00\x08\xff\xff" + entry[:7],
        b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x0112, 3, 1, 0) + b"\x08\x00\x00\x00",
        b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 9, 0) + bytes(4),
        b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHI4s", 0x0112, 2, 4, b"6\x00\x00\x00") + bytes(4),
    ]
    for block in blocks:
        assert decode(insert(scene, segment(0xE1, b"Exif\x00\x00" + block))).tobytes() == upright
    turned = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    many = b"".join(segment(0xE1, turned if number % 2 else b"Exif\x00\x00" + blocks[5]) for number in range(60))
    assert decode(insert(scene, many)).tobytes() == upright
    assert decode(insert(scene, segment(0xE1, turned))).size == (120, 160)


def test_intake_records_the_upright_size(photo, encode):
    """The size is the one a person sees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert inspect(encode(photo(size=(200, 100)), exif=exif)) == ImageInfo("image/jpeg", 100, 200)


def test_a_thumbnail_for_comparison_keeps_128_pixels(photo, encode):
    """Scaled decoding stops above the least side that hashes need."""
    assert min(grey_thumbnail(encode(photo(size=(1200, 900)))).size) in range(128, 256)
    assert grey_thumbnail(encode(photo(size=(200, 100)))).size == (200, 100)


@pytest.mark.shared
def test_the_camera_traps_hostile_files_are_told_apart(shared_data):
    """The truncated file is rejected; CMYK, grey and turned ones decode upright."""
    folder = shared_data / "photos" / "camera_traps"
    found = {path.name: reason_of(path.read_bytes()) for path in sorted(folder.glob("*.jpg"))}
    assert {name for name, reason in found.items() if reason} == {"african_elephants_truncated_file.jpg"}
    assert found["african_elephants_truncated_file.jpg"] is Reason.TRUNCATED
    plain = decode((folder / "african_elephants.jpg").read_bytes())
    turned = decode((folder / "african_elephants_with_exif_orientation.jpg").read_bytes())
    assert plain.size == turned.size
    assert apart(plain, turned) < 12


def exchanged_profile() -> bytes:
    """Return an RGB profile in which red and green have changed places, under a name of its own."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    tags = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    data[tags[b"rXYZ"] : tags[b"rXYZ"] + 4], data[tags[b"gXYZ"] : tags[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    profile = (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
        .replace(b"sRGB built", b"wide built")
    )
    assert "sRGB" not in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    return profile


@pytest.mark.parametrize("progressive", [False, True])
def test_fill_bytes_before_a_marker_leave_the_rebuilt_file(photo, encode, progressive):
    """A JPEG may have any number of FF before a marker; a million of them cost no time worth naming and are not copied."""
    data = encode(photo(), progressive=progressive)
    filled = data[:2] + b"\xff" * 1_000_000 + data[2:-2] + b"\xff" * 50_000 + data[-2:]
    assert read_container(filled).bare == read_container(data).bare


def test_a_scan_ends_at_the_first_marker_that_is_no_restart(photo, encode):
    """Restarts and stuffed bytes are inside a scan; fill bytes and what follows the end are not."""
    whole = encode(photo(), quality=98, restart_marker_rows=1)
    assert whole.count(b"\xff\x00") > 20
    assert all(whole.count(bytes((0xFF, marker))) for marker in range(0xD0, 0xD6))
    assert read_container(whole[:-2] + b"\xff\xff" + whole[-2:] + b"\xff\xd8 behind the end").bare == whole
    with pytest.raises(Rejected, match="ends before its image does"):
        read_container(whole[:-2] + b"\xff")
