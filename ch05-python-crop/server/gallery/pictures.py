"""Looking into uploaded pictures: what a file is, is decided by decoding it, never by its name."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import ExifTags, Image, ImageOps

# What every current browser shows; the value is the file name's ending.
FORMATS = {
    JpegImagePlugin.JpegImageFile.format: ".jpg",
    PngImagePlugin.PngImageFile.format: ".png",
    GifImagePlugin.GifImageFile.format: ".gif",
    WebPImagePlugin.WebPImageFile.format: ".webp",
    AvifImagePlugin.AvifImageFile.format: ".avif",
}

# Twice the width at which the gallery shows an original, for sharp screens.
THUMBNAIL_EDGE = 640

# A JPEG of a few hundred kilobytes can hold thousands of scans, each a pass over the whole picture:
# seconds of work. Real progressive files have about ten, the most thorough encoders around fifty.
MAX_SCANS = 100

# EXIF tags that say how to show the picture, not where and with what it was taken.
HARMLESS_EXIF = {
    0x0112,  # Orientation
    0x011A, 0x011B, 0x0128, 0x0213,  # resolution and its unit, YCbCr positioning
    0x8769,  # the pointer to the tags below
    0xA000, 0x9000, 0x9101, 0xA001, 0xA002, 0xA003,  # versions, color space, dimensions
}  # fmt: skip

# The size limit is ours (below), with a message of its own; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None

# One picture is decoded at a time: the memory that decoding takes has a bound, whatever the number of
# uploads, and all of it comes from one thread's arena, which the next decoding can use again.
_decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")


class BadPicture(ValueError):
    """The file is not a picture that the gallery takes; `status` is the HTTP status that says so."""

    def __init__(self, reason: str, status: int = 422):
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Picture:
    """What decoding a file has shown. Width and height are in pixels, after orientation was applied."""

    type: str
    suffix: str
    width: int
    height: int
    thumbnail: bytes | None
    """A JPEG that fits in THUMBNAIL_EDGE, or None where the picture does so itself."""


def examine(stream, max_pixels: int) -> Picture:
    """Decode the picture in `stream` (binary, seekable; rewound at the end).

    Raises BadPicture for anything but a whole, decodable picture of one of FORMATS, of at most
    `max_pixels`, without data on where and by whom it was taken.
    """
    return _decoder.submit(_examine, stream, max_pixels).result()


def _examine(stream, max_pixels):
    stream.seek(0)
    try:
        image = Image.open(stream, formats=list(FORMATS))
    except Exception as error:  # Pillow raises half a dozen types for malformed files
        raise BadPicture(f"not a picture of a known format ({', '.join(FORMATS)})", 415) from error
    with image:
        if image.width * image.height > max_pixels:
            raise BadPicture(
                f"{image.width} × {image.height} pixels are more than the {max_pixels / 1e6:g} megapixels allowed"
            )
        if image.format == "JPEG" and _count_scans(stream) > MAX_SCANS:
            raise BadPicture(f"a JPEG with more than {MAX_SCANS} scans would take too long to decode")
        try:
            return _look(image)
        except BadPicture:
            raise
        except Exception as error:  # a truncated or damaged file shows only while it is decoded
            raise BadPicture(f"the picture is damaged: {error}") from error
        finally:
            stream.seek(0)


def _count_scans(stream) -> int:
    position = stream.tell()
    stream.seek(0)
    # Inside compressed data 0xFF is always followed by 0x00, so this finds the markers and little else.
    scans = sum(len(re.findall(rb"\xff\xda", block)) for block in iter(lambda: stream.read(1 << 20), b""))
    stream.seek(position)
    return scans


def _look(image):
    upright = image.getexif().get(ExifTags.Base.Orientation, 1) < 5
    width, height = image.size if upright else image.size[::-1]
    kind = Image.MIME[image.format], FORMATS[image.format]
    profile = image.info.get("icc_profile")
    # For a JPEG this decodes at reduced scale: every byte is read, but only the pixels needed are made.
    image.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE), reducing_gap=2.0)
    image.load()  # a small picture needs no reducing, so that it has not been decoded yet
    found = sorted(_telltale(image))
    if found:
        raise BadPicture(f"the picture carries {', '.join(found)}: take that out before sending it")
    if max(width, height) <= THUMBNAIL_EDGE:
        return Picture(*kind, width, height, None)
    small = ImageOps.exif_transpose(image)
    if small.mode.startswith("I;16") or small.mode == "I":
        small = small.convert("I").point(lambda value: value / 256).convert("L")
    elif small.has_transparency_data:
        small = small.convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    if small.mode not in ("L", "RGB"):
        if small.mode not in ("RGBA", "P"):
            profile = None  # it described the colors of another mode
        small = small.convert("RGB")
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=82, icc_profile=profile)
    return Picture(*kind, width, height, jpeg.getvalue())


def _telltale(image):
    """Name what a decoded picture carries beside its pixels that could tell on the photographer."""
    exif = image.getexif()
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        yield "a location (GPS)"
    tags = {*exif, *exif.get_ifd(ExifTags.IFD.Exif), *exif.get_ifd(ExifTags.IFD.IFD1)}
    if tags - HARMLESS_EXIF - {ExifTags.IFD.GPSInfo}:
        yield "EXIF data"
    if image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"):
        yield "XMP data"
    if image.info.get("comment") or getattr(image, "text", None):
        yield "comments"
    if image.info.get("photoshop"):
        yield "Photoshop data"
