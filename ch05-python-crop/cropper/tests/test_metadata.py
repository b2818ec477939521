"""Nothing private is left in a file, and nothing else is changed."""

import io
import random
import struct
import zlib

import pytest
from PIL import Image, ImageCms, ImageSequence

import hostile
from cropper.metadata import BrokenPicture, strip

SECRET = b"Elm Street 13"
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation=1):
    """Return an EXIF block like a camera's: maker, comment, GPS position and a thumbnail's bytes."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = SECRET.decode()
    tags.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + SECRET
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.1), 29: SECRET.decode()})
    return tags.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>' + SECRET + b"</rdf:RDF></x:xmpmeta>"


def private(format, orientation=1, frames=1):
    """Return a picture file of `format` with a secret in every place that Pillow writes and some that it doesn't."""
    images = [hostile.picture().rotate(90 * turn) for turn in range(frames)]
    options = {"save_all": True, "append_images": images[1:], "duration": 50, "loop": 3} if frames > 1 else {}
    if format == "JPEG":
        segments = [(0xFE, SECRET), (0xED, b"Photoshop 3.0\0" + SECRET), (0xE3, b"Meta\0" + SECRET)]
        segments += [(0xE0, b"JFXX\0\x10" + SECRET), (0xE2, b"MPF\0" + SECRET), (0xE1, b"Exif\0\0" + SECRET)]
        extra = b"".join(hostile.jpeg_segment(marker, body) for marker, body in segments)
        data = hostile.encoded(images[0], format, exif=exif(orientation), xmp=XMP, icc_profile=PROFILE, comment=SECRET)
        head = data.index(b"\xff\xdb")
        return data[:head] + extra + data[head:] + hostile.encoded(images[0], format, exif=exif(), comment=SECRET)
    if format == "PNG":
        data = hostile.encoded(images[0], format, exif=exif(orientation), icc_profile=PROFILE, **options)
        chunks = [(b"tEXt", b"Author\0" + SECRET), (b"zTXt", b"Author\0\0" + zlib.compress(SECRET))]
        chunks += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), (b"tIME", bytes(7)), (b"prVt", SECRET)]
        extra = b"".join(hostile.png_chunk(*chunk) for chunk in chunks)
        return data[:33] + extra + data[33:-12] + extra + data[-12:] + SECRET
    if format == "GIF":
        data = hostile.encoded(images[0], format, comment=SECRET, **options)
        block = bytes([len(SECRET)]) + SECRET + b"\0"
        xmp = b"\x21\xff\x0bXMP DataXMP" + XMP + bytes([1, *range(255, -1, -1), 0])
        plain_text = b"\x21\x01\x0c" + bytes(12) + block
        return data[:-1] + b"\x21\xfe" + block + xmp + plain_text + data[-1:] + SECRET
    if format == "WEBP":
        data = hostile.encoded(images[0], format, exif=exif(orientation), xmp=XMP, icc_profile=PROFILE, **options)
        data += struct.pack("<4sI", b"PRIV", len(SECRET)) + SECRET + b"\0"
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:] + SECRET
    data = hostile.encoded(images[0], format, exif=exif(orientation), xmp=XMP, icc_profile=PROFILE, **options)
    return data + struct.pack(">I4s16s", 24 + len(SECRET), b"uuid", bytes(16)) + SECRET


def frames(data):
    """Return the pixels of all frames of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        return [frame.convert("RGBA").tobytes() for frame in ImageSequence.Iterator(image)]


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO")  # The secret in the MPF segment.
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", (1, 6))
def test_takes_out_all_that_is_private_and_leaves_the_pixels(format, orientation):
    data = private(format, orientation)
    assert SECRET in data  # the test's own sanity
    clean = strip(data, format)
    assert SECRET not in clean
    assert b"xmpmeta" not in clean
    assert zlib.compress(SECRET) not in clean
    with Image.open(io.BytesIO(clean)) as after, Image.open(io.BytesIO(data)) as before:
        assert after.convert("RGBA").tobytes() == before.convert("RGBA").tobytes()
        assert after.info.get("icc_profile") == before.info.get("icc_profile")
        if format != "GIF":
            assert after.info["icc_profile"] == PROFILE
        assert not {"comment", "xmp", "XML:com.adobe.xmp", "photoshop"} & set(after.info)
        tags = dict(after.getexif())
        if orientation == 1 or format == "GIF":
            assert tags == {}
        else:
            assert tags == {0x0112: orientation}
    if format == "WEBP":
        assert clean[20] & 0b1100 == (0 if orientation == 1 else 0b1000)  # The flags that announce EXIF and XMP.
    assert strip(clean, format) == clean


@pytest.mark.parametrize("format", ("GIF", "PNG", "WEBP"))
def test_animations_stay_animated(format):
    data = private(format, frames=3)
    clean = strip(data, format)
    assert SECRET not in clean
    assert len(frames(clean)) == 3
    assert frames(clean) == frames(data)
    with Image.open(io.BytesIO(clean)) as image:
        assert image.info["loop"] == 3


def test_animated_avif_becomes_its_first_picture():
    clean = strip(private("AVIF", frames=3), "AVIF")
    assert SECRET not in clean
    assert frames(clean) == frames(private("AVIF", frames=3))[:1]


def test_jpeg_keeps_what_decides_its_colors():
    image = hostile.picture().convert("CMYK")
    data = hostile.encoded(image, "JPEG", comment=SECRET)
    assert frames(strip(data, "JPEG")) == frames(data)
    rgb_stored_as_rgb = hostile.encoded(hostile.picture(), "JPEG", keep_rgb=True, comment=SECRET)
    assert frames(strip(rgb_stored_as_rgb, "JPEG")) == frames(rgb_stored_as_rgb)


def test_jpeg_progressive_with_restarts_and_comments_between_scans():
    data = hostile.encoded(hostile.picture(300, 200), "JPEG", progressive=True, restart_marker_blocks=4)
    scan = data.rindex(b"\xff\xda")
    with_comment = data[:scan] + hostile.jpeg_segment(0xFE, SECRET) + data[scan:]
    clean = strip(with_comment, "JPEG")
    assert clean == data


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_raise_nothing_but_broken_picture(format):
    """2,000 files with a byte changed, a piece cut out or put in: each is stripped or refused."""
    whole, dice = private(format, 6), random.Random(format)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 3, 20))):
            place = dice.randrange(len(data))
            match dice.randrange(3):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    del data[place : place + dice.randrange(1, 50)]
                case 2:
                    data[place:place] = dice.randbytes(dice.randrange(1, 9))
        try:
            strip(bytes(data), format)
        except BrokenPicture:
            refused += 1
    assert refused < 400
