"""Turn the bytes of one photo file into a crop: safe decoding, orientation, geometry, colors."""

import hashlib
import io
import math
import re
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageFile

from cropper.metadata import ORIENTATION, BrokenPicture, strip

CROP_FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
MAX_MEMORY = 376 * 2**20  # Bytes that one photo may take. With Python and OpenCV a worker stays below 512 MiB.
MAX_PIXELS_PER_BYTE, SMALL_ENOUGH = 500, 4_000_000  # Photos have about 5 pixels per byte, an empty page some 300.

# Pixels are checked against MAX_MEMORY as soon as a file's header is read. Pillow's own check knows nothing of formats.
Image.MAX_IMAGE_PIXELS = None
# Bytes that a decoder is given at once. Between two portions workers wait for each other: at 12 megapixels Pillow's own
# 64 KiB cost them 6 %.
ImageFile.MAXBLOCK = 2**20

# Bytes of memory per pixel that each decoder and the steps after it take: measured peaks, rounded up.
_BYTES_PER_PIXEL = {"JPEG": 4, "PNG": 5, "GIF": 5, "WEBP": 16, "AVIF": 12}
_BYTES_PER_PIXEL_WITH_ALPHA = 9  # Of PNG and GIF: averaging needs a second copy, with the colors weighted.
_BYTES_PER_PIXEL_PROGRESSIVE = 6  # A progressive JPEG is kept whole as coefficients, however small the decode.
# What browsers show. Pillow reads more formats, some of them dangerous (EPS runs programs).
_STARTS = {
    kind: re.compile(start, re.DOTALL)
    for kind, start in {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n\x1a\n",
        "GIF": rb"GIF8[79]a",
        "WEBP": rb"RIFF....WEBP",
        "AVIF": rb"....ftypavi[fs]",
    }.items()
}
_JPEG_SCALES = (1, 2, 4, 8)  # libjpeg decodes to a half, a quarter, an eighth at a fraction of the work.

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True)
class Request:
    """What is asked of every photo: mode "center" or "face", the crop's size in pixels, and a name of CROP_FORMATS."""

    mode: str = "center"
    width: int = 500
    height: int = 500
    format: str = "jpeg"

    def key(self, original):
        """Return the name of this crop of `original` (the file's bytes as on disk): 64 hexadecimal digits.

        SHA-256 over the file's bytes followed by a zero byte and, in ASCII, for example "face 500x400 jpeg".
        """
        digest = hashlib.sha256(original)
        digest.update(f"\0{self.mode} {self.width}x{self.height} {self.format}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Crop:
    """A photo and its crop, both free of metadata.

    `box` is (left, top, right, bottom) in pixels of the upright original, `size` the crop's (width, height) in pixels,
    `note` is "" or "center-fallback" where face mode found no face.
    """

    original: bytes
    original_type: str
    cropped: bytes
    cropped_type: str
    box: tuple
    size: tuple
    note: str = ""


def make_crop(data, request):
    """Return the Crop that `request` asks for of the picture file `data` (bytes).

    Raises BrokenPicture with the reason where the file is no picture, broken, or made to exhaust memory or time.
    Whatever else Pillow raises on malformed data (it is a long list) comes out as BrokenPicture too.
    """
    try:
        return _make_crop(data, request)
    except BrokenPicture:
        raise
    except MemoryError:
        raise BrokenPicture("there is not enough memory to decode it") from None
    except Image.UnidentifiedImageError:  # Its message speaks of our buffer.
        raise BrokenPicture("it can't be decoded: its header is damaged") from None
    except Exception as error:
        raise BrokenPicture(f"it can't be decoded: {str(error) or type(error).__name__}") from error


def _make_crop(data, request):
    kind = _kind(data)
    clean = strip(data, kind)
    with _open(clean, kind) as header:
        orientation = _orientation(header)
        stored_size = header.size
        icc = header.info.get("icc_profile")
    pixels = stored_size[0] * stored_size[1]
    if pixels > SMALL_ENOUGH and pixels > MAX_PIXELS_PER_BYTE * len(data):
        raise BrokenPicture(f"{len(data)} bytes unpack to {pixels} pixels: that is no photo")
    sideways = orientation >= 5
    size = stored_size[::-1] if sideways else stored_size
    region, note = (0, 0, *size), ""
    picture, decoded_at = None, 0
    if request.mode == "face":
        from cropper import faces  # OpenCV is big: center mode does without it.

        picture, decoded_at = _decode(clean, kind, min(1, faces.LONG_SIDES[-1] / max(size)))

        def look(small):
            piece = _cut(picture, (0, 0, *picture.size), small[::-1] if sideways else small, gap=1.0)
            return _on_white(_turn(piece, orientation))

        face = faces.largest_face(size, look, request.width, request.height)
        if face:
            region = tuple(part * length for part, length in zip(face, size * 2))
        else:
            note = "center-fallback"
    box = _shaped(region, request.width, request.height)
    wanted = min(1, request.width / (box[2] - box[0]))
    if decoded_at < wanted:
        picture = None  # Let go of it before the next one is decoded.
        picture, decoded_at = _decode(clean, kind, wanted)
    # Never enlarged: not from a small region, nor from a decode that memory kept small.
    crop_size = tuple(
        max(1, min(asked, round(length * min(1, decoded_at))))
        for asked, length in ((request.width, box[2] - box[0]), (request.height, box[3] - box[1]))
    )
    stored_box = _stored(box, size, orientation)
    across, down = picture.width / stored_size[0], picture.height / stored_size[1]
    piece = _cut(
        picture,
        (stored_box[0] * across, stored_box[1] * down, stored_box[2] * across, stored_box[3] * down),
        crop_size[::-1] if sideways else crop_size,
        gap=2.0,
    )
    return Crop(
        clean,
        Image.MIME[kind],
        _encode(_turn(piece, orientation), icc, request.format),
        CROP_FORMATS[request.format],
        box,
        crop_size,
        note,
    )


def _kind(data):
    """Return Pillow's name of the format that the first bytes of `data` show; raises BrokenPicture for any other."""
    if not data:
        raise BrokenPicture("the file is empty")
    for kind, start in _STARTS.items():
        if start.match(data):
            return kind
    if re.match(rb"....ftyp(hei|mif1|msf1)", data, re.DOTALL):
        raise BrokenPicture("HEIC can't be read: export it as JPEG")
    raise BrokenPicture("not a JPEG, PNG, GIF, WebP or AVIF picture")


def _open(data, kind):
    return Image.open(io.BytesIO(data), formats=(kind,))


def _orientation(picture):
    value = picture.getexif().get(ORIENTATION, 1) if "exif" in picture.info else 1
    return value if value in _UPRIGHT else 1


def _decode(data, kind, scale):
    """Return the picture, decoded to at least `scale` (above 0, at most 1) of its size, and the scale it has got.

    It is less than asked where more would take MAX_MEMORY; where even the smallest does, BrokenPicture is raised.
    """
    picture = _open(data, kind)
    width, height = picture.size
    each = _BYTES_PER_PIXEL[kind]
    if picture.has_transparency_data:
        each = max(each, _BYTES_PER_PIXEL_WITH_ALPHA)
    fixed = 2 * len(data)  # The file as it was and without its metadata.
    if "progressive" in picture.info:
        fixed += width * height * _BYTES_PER_PIXEL_PROGRESSIVE
    divisors = _JPEG_SCALES if kind == "JPEG" else (1,)
    coarse_enough = max(divisor for divisor in divisors if divisor * scale <= 1)
    for divisor in divisors:
        memory = fixed + width * height * each // divisor**2
        if divisor >= coarse_enough and memory <= MAX_MEMORY:
            break
    else:
        raise BrokenPicture(f"{width} by {height} pixels take more memory than one photo may have")
    if divisor > 1:
        picture.draft(None, (max(1, width // divisor), max(1, height // divisor)))
    picture.load()
    return picture, picture.width / width


def _shaped(region, width, height):
    """Return the largest box of the shape width:height in the middle of `region`, as whole pixels."""
    left, top, right, bottom = region
    across, down = right - left, bottom - top
    if across * height > down * width:
        across = down * width / height
    else:
        down = across * height / width
    across, down = max(1, round(across)), max(1, round(down))
    left, top = max(0, round((left + right - across) / 2)), max(0, round((top + bottom - down) / 2))
    return left, top, left + across, top + down


def _stored(box, size, orientation):
    """Return `box` of the upright picture, which has `size`, in pixels of the picture as it is stored."""
    (left, top, right, bottom), (width, height) = box, size
    if orientation >= 5:
        left, top, right, bottom, width, height = top, left, bottom, right, height, width
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _turn(picture, orientation):
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _cut(picture, box, size, gap):
    """Return `box` (floats, in pixels) of `picture` reduced to `size`, in a mode that has full color values."""
    box = tuple(min(edge, limit) for edge, limit in zip(box, picture.size * 2))
    if picture.mode not in ("L", "RGB", "RGBA", "CMYK") or "transparency" in picture.info:
        # Cut first: the rest of the picture need not be converted. Palettes and 16-bit gray can't be averaged as they are.
        outer = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
        box = tuple(edge - outer[i % 2] for i, edge in enumerate(box))
        picture = picture.crop(outer)
        if picture.mode.startswith("I"):
            picture = picture.point(lambda value: value / 256).convert("L")
        else:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture.resize(size, Image.Resampling.HAMMING, box=box, reducing_gap=gap)


def _on_white(picture):
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _encode(picture, icc, format):
    """Return the bytes of `picture` as a file: sRGB, without any metadata, without transparency where it is a JPEG."""
    if icc:
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        try:
            picture = ImageCms.profileToProfile(picture, io.BytesIO(icc), _SRGB, outputMode=mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # A damaged profile, or one for other kinds of pixels: browsers ignore it as well.
    if picture.mode != "RGBA" or format == "jpeg":
        picture = _on_white(picture)
    picture.info.clear()  # Pillow would write a JPEG's or GIF's comment into the crop.
    out = io.BytesIO()
    picture.save(out, format, quality=90)
    return out.getvalue()
