"""Make a folder of files that photo programs stumble over, and say what has to become of each.

`python hostile.py FOLDER` writes the files and prints a JSON object {file name: expected status}. Needs only Pillow, so it
runs in the cropper's own image. Name and expectation are the documentation of each case.
"""

import io
import json
import os
import socket
import struct
import sys
import zlib

from PIL import Image, ImageChops, ImageCms, ImageStat

CROPPED, FAILED, SKIPPED = "cropped", "failed", "skipped"


def picture(width=80, height=60, mode="RGB"):
    """Return a Pillow image with something different in each corner."""
    ramp = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.ROTATE_180), ramp.point(lambda v: v // 2))).convert(mode)


def encoded(image, format, **options):
    """Return `image` as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def difference(one, other):
    """Return the mean difference of two RGB pictures of one size in each channel, of at most 255."""
    return ImageStat.Stat(ImageChops.difference(one, other)).mean


def png_chunk(name, body, crc=None):
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)


def png(width, height, data, depth=8, color=0, *extra):
    """Return a PNG file whose header says `width` and `height`, whatever `data` (not yet compressed) holds."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    body = b"".join(extra) + png_chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + header + body + png_chunk(b"IEND", b"")


def jpeg_segment(marker, body):
    """Return one marker segment of a JPEG file."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def scans_bomb():
    """Return a 16-megapixel progressive JPEG that repeats one scan 3,000 times."""
    data = encoded(Image.new("L", (4096, 4096), 128), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + 3000 * data[start:-2] + data[-2:]


def files():
    """Return {file name: (bytes, expected status)} of the regular files; the names are bytes."""
    rgb = picture()
    jpeg, png_, gif = encoded(rgb, "JPEG"), encoded(rgb, "PNG"), encoded(rgb, "GIF")
    webp, avif = encoded(rgb, "WEBP"), encoded(rgb, "AVIF")
    progressive = encoded(picture(400, 300), "JPEG", progressive=True)
    frames = [picture(), picture().transpose(Image.Transpose.ROTATE_180)]
    animated = {"save_all": True, "append_images": frames[1:], "duration": 100}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    after_header = jpeg[:2]

    def swapped(data, old, new):
        assert old in data
        return data.replace(old, new, 1)

    cases = {
        # Nothing, or nothing like a picture.
        "empty.jpg": (b"", FAILED),
        "one-byte.jpg": (b"\xff", FAILED),
        "zeros.jpg": (bytes(10_000), FAILED),
        "text.jpg": (b"This is no picture.\n" * 100, FAILED),
        "text.txt": (b"This is no picture.\n" * 100, SKIPPED),
        "page.html": (b"<html><script>alert(1)</script></html>", SKIPPED),
        "script.png": (b"#!/bin/sh\nrm -rf /\n", FAILED),
        "vector.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', SKIPPED),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(w) (file) file\n", FAILED),
        "random.webp": (bytes((i * 7919 >> 3) & 255 for i in range(5000)), FAILED),
        "iphone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), FAILED),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0" + bytes(500), SKIPPED),
        "scan.tif": (encoded(rgb, "TIFF"), FAILED),
        "paint.bmp": (encoded(rgb, "BMP"), FAILED),
        "icon.ico": (encoded(rgb, "ICO"), SKIPPED),
        # Cut off.
        "cut-header.jpg": (jpeg[:20], FAILED),
        "cut-half.jpg": (encoded(picture(400, 300), "JPEG")[:2000], FAILED),
        "cut-progressive.jpg": (progressive[: len(progressive) // 2], FAILED),
        "cut-tables.jpg": (jpeg[:200], FAILED),
        "cut-half.png": (png_[: len(png_) // 2], FAILED),
        "cut-header.png": (png_[:12], FAILED),
        "cut-half.gif": (gif[: len(gif) // 2], FAILED),
        "cut-half.webp": (webp[: len(webp) // 2], FAILED),
        "cut-half.avif": (avif[: len(avif) // 2], FAILED),
        "only-magic.gif": (b"GIF89a", FAILED),
        # Whole, but with lies or damage inside.
        "no-end.png": (png_[:-12], CROPPED),
        "wrong-checksum.png": (swapped(png_, png_[29:33], b"\0\0\0\0"), FAILED),
        "zero-width.png": (png(0, 10, b""), FAILED),
        "more-pixels-than-data.png": (png(500, 500, bytes(501 * 3)), CROPPED),
        "bad-compression.png": (png_[:60] + b"\0\1\2\3" + png_[64:], FAILED),
        "unknown-critical-chunk.png": (png(8, 8, bytes(72), 8, 0, png_chunk(b"XXXX", b"?")), CROPPED),
        "huge-chunk-length.png": (png_[:33] + b"\xff\xff\xff\xffIDAT" + png_[41:], FAILED),
        "bad-exif.jpg": (after_header + jpeg_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + jpeg[2:], CROPPED),
        "orientation-99.jpg": (
            after_header + jpeg_segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0c\0\0\0\0\0\0") + jpeg[2:],
            CROPPED,
        ),
        "bad-profile.jpg": (encoded(rgb, "JPEG", icc_profile=b"no profile at all" * 20), CROPPED),
        "wrong-profile-for-gray.jpg": (encoded(rgb.convert("L"), "JPEG", icc_profile=profile), CROPPED),
        "garbage-between-segments.jpg": (after_header + jpeg[2:20] + b"garbage" + jpeg[20:], CROPPED),
        "trailing-garbage.jpg": (jpeg + bytes(range(256)) * 40, CROPPED),
        "two-pictures.jpg": (jpeg + jpeg, CROPPED),
        "zip-inside.jpg": (jpeg + b"PK\3\4" + bytes(300), CROPPED),
        "no-tables.jpg": (swapped(jpeg, b"\xff\xdb", b"\xff\xef"), FAILED),
        "segment-of-length-0.jpg": (after_header + b"\xff\xe2\0\0" + jpeg[2:], CROPPED),
        "text-bomb.png": (
            png(8, 8, bytes(72), 8, 0, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000), 9))),
            CROPPED,
        ),
        "profile-bomb.png": (
            png(8, 8, bytes(72), 8, 0, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5_000_000), 9))),
            FAILED,
        ),
        "frame-outside.gif": (swapped(gif, b"\x2c\0\0\0\0", b"\x2c\xff\xff\xff\xff"), FAILED),
        "riff-size-lie.webp": (webp[:4] + b"\xff\xff\xff\x7f" + webp[8:], FAILED),
        # Made to exhaust memory or time.
        "bomb-gray.png": (png(30_000, 30_000, bytes(3000)), FAILED),
        "bomb-claims-all.png": (png(2**31 - 1, 2**31 - 1, b""), FAILED),
        "bomb-by-ratio.png": (png(12_000, 1_000, bytes(1501 * 1000), 1), FAILED),
        "bomb.gif": (gif[:6] + b"\xff\xff\xff\xff" + gif[10:], FAILED),
        "bomb.webp": (encoded(Image.new("RGB", (3000, 3000)), "WEBP", lossless=True, method=0, quality=0), FAILED),
        "bomb.avif": (encoded(Image.new("RGB", (2100, 2100)), "AVIF", speed=10), FAILED),
        "bomb-size-field.jpg": (_jpeg_claiming(jpeg, 65_500, 65_500), FAILED),
        "bomb-chunks.png": (png_[:33] + 100_001 * png_chunk(b"IDAT", b"") + png_[33:], FAILED),
        "bomb-scans.jpg": (scans_bomb(), FAILED),
        # Odd, but right.
        "one-pixel.png": (encoded(picture(1, 1), "PNG"), CROPPED),
        "one-row.png": (encoded(picture(3000, 1), "PNG"), CROPPED),
        "one-column.jpg": (encoded(picture(1, 3000), "JPEG"), CROPPED),
        "gray.jpg": (encoded(rgb.convert("L"), "JPEG"), CROPPED),
        "cmyk.jpg": (encoded(rgb.convert("CMYK"), "JPEG"), CROPPED),
        "black-and-white.png": (encoded(rgb.convert("1"), "PNG"), CROPPED),
        "gray-16-bit.png": (encoded(rgb.convert("I;16"), "PNG"), CROPPED),
        "gray-and-alpha.png": (encoded(rgb.convert("LA"), "PNG"), CROPPED),
        "color-and-alpha.png": (encoded(rgb.convert("RGBA"), "PNG"), CROPPED),
        "palette.png": (encoded(rgb.convert("P"), "PNG"), CROPPED),
        "palette-with-transparency.png": (encoded(rgb.convert("P"), "PNG", transparency=3), CROPPED),
        "gray-with-transparency.png": (encoded(rgb.convert("L"), "PNG", transparency=3), CROPPED),
        "animated.gif": (encoded(frames[0], "GIF", **animated), CROPPED),
        "animated.png": (encoded(frames[0], "PNG", **animated), CROPPED),
        "animated.webp": (encoded(frames[0], "WEBP", **animated), CROPPED),
        "animated.avif": (encoded(frames[0], "AVIF", **animated), CROPPED),
        "two-frames.mpo": (encoded(frames[0], "MPO", **animated), CROPPED),
        "alpha.webp": (encoded(rgb.convert("RGBA"), "WEBP"), CROPPED),
        "plain.avif": (avif, CROPPED),
        "progressive.jpg": (progressive, CROPPED),
        "png-called.jpg": (png_, CROPPED),
        "jpeg-called.png": (jpeg, CROPPED),
        "no-ending": (jpeg, CROPPED),
        "CAPITALS.JPG": (jpeg, CROPPED),
        # Odd names.
        "with space.jpg": (jpeg, CROPPED),
        "with\nline break.jpg": (jpeg, CROPPED),
        "with\x1b[31mcolor.jpg": (jpeg, CROPPED),
        "'quotes\" and `ticks`.jpg": (jpeg, CROPPED),
        "<img src=x onerror=alert(1)>.jpg": (jpeg, CROPPED),
        "$(touch gotcha);&|.jpg": (jpeg, CROPPED),
        "--out.jpg": (jpeg, CROPPED),
        "-.jpg": (jpeg, CROPPED),
        "%s%n%00.jpg": (jpeg, CROPPED),
        "写真 📷 é.jpg": (jpeg, CROPPED),
        "a" * 251 + ".jpg": (jpeg, CROPPED),
        "back\\slash.jpg": (jpeg, CROPPED),
        ".hidden.jpg": (jpeg, SKIPPED),
    }
    cases = {os.fsencode(name): case for name, case in cases.items()}
    cases[b"not \xff\xfe text.jpg"] = (jpeg, CROPPED)
    return cases


def _jpeg_claiming(jpeg, width, height):
    place = jpeg.index(b"\xff\xc0")
    return jpeg[: place + 5] + struct.pack(">HH", height, width) + jpeg[place + 9 :]


def make(folder):
    """Write all cases into `folder` and return {path below it: expected status}."""
    expected = {}
    top = os.fsencode(folder)
    for name, (data, status) in files().items():
        with open(os.path.join(top, name), "wb") as file:
            file.write(data)
        expected[name] = status

    def other(name, status, make_it):
        make_it(os.path.join(top, name))
        if status:
            expected[name] = status

    def long_file(path):
        with open(path, "wb") as file:
            file.truncate(200 * 2**20)

    def unreadable(path):
        with open(path, "wb") as file:
            file.write(b"secret")
        os.chmod(path, 0)

    def deep(path):
        for _ in range(40):
            os.mkdir(path)
            path = os.path.join(path, b"deeper")

    def listening(path):
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)

    other(b"pipe.jpg", SKIPPED, os.mkfifo)
    other(b"socket.jpg", SKIPPED, listening)
    other(b"link.jpg", SKIPPED, lambda path: os.symlink(b"gray.jpg", path))
    other(b"link-to-nowhere.jpg", SKIPPED, lambda path: os.symlink(b"nowhere", path))
    other(b"link-to-device.jpg", SKIPPED, lambda path: os.symlink(b"/dev/zero", path))
    other(b"link-to-itself.jpg", SKIPPED, lambda path: os.symlink(b"link-to-itself.jpg", path))
    other(b"loop", SKIPPED, lambda path: os.symlink(b".", path))
    other(b"200-megabytes.jpg", FAILED, long_file)
    other(b"unreadable.jpg", FAILED, unreadable)
    other(b"folder.jpg", None, os.mkdir)
    other(b"folder.jpg/inside.jpg", CROPPED, lambda path: picture().save(os.fsdecode(path), "JPEG"))
    other(b"deep", None, deep)
    return expected


if __name__ == "__main__":
    print(json.dumps({os.fsdecode(name): status for name, status in make(sys.argv[1]).items()}))
