"""Take everything private out of a picture file without touching its pixels.

Cameras write where and when a photo was taken, by which device, and often a small second copy of it, into the file. A file
is a list of labelled pieces, so the private ones can be left out and the pixels' own bytes copied as they are. Each
function here works by a list of what may stay, not of what must go: a kind of piece nobody has thought of goes too.
What stays is what the pixels need to look right: the color profile, transparency, animation, and the orientation.
"""

import io
import itertools
import re
import struct
import zlib

from PIL import Image

ORIENTATION = 0x0112  # The EXIF tag's number.
MAX_SCANS = 100  # Camera JPEGs have up to about 50. Thousands cost seconds of work in a file of a few kilobytes.

MAX_PIECES = 100_000
MAX_EXIF = 2**16  # Bytes. JPEG has no room for more; each of its entries may refer to all of it.


class BrokenPicture(ValueError):
    """The file's structure can't be followed; the message says why, in words for the person who owns the file."""


def strip(data, kind):
    """Return the picture file `data` (bytes) without metadata, as bytes; pixels, color profile and orientation stay.

    `kind` is Pillow's name of the format: JPEG, PNG, GIF, WEBP or AVIF. Raises BrokenPicture.
    """
    out = io.BytesIO()  # Unlike b"".join it never holds all pieces at once, and some files have very many.
    try:
        for piece in _STRIPPERS[kind](memoryview(data)):
            out.write(piece)
    except (struct.error, IndexError):
        raise BrokenPicture("the file is cut off or damaged") from None
    return out.getvalue()


def _pieces():
    """Count the pieces of a file for the loop that walks through them, and end it at more than any real file has."""
    yield from range(MAX_PIECES)
    raise BrokenPicture(f"the file has more than {MAX_PIECES} pieces: no program writes that")


def _orientation_only(exif):
    """Return an EXIF block (bytes) that has only the orientation of `exif`, or b"" where that is the usual one."""
    tags = Image.Exif()
    try:
        tags.load(bytes(exif[:MAX_EXIF]))
        orientation = tags.get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds on malformed EXIF; without a readable orientation there is none.
        return b""
    if orientation not in range(2, 9):
        return b""
    only = Image.Exif()
    only[ORIENTATION] = orientation
    return only.tobytes()


_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # Not a stuffed zero, a restart marker or padding.
_JPEG_SOI, _JPEG_EOI, _JPEG_SOS, _JPEG_COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_JPEG_APP0, _JPEG_EXIF, _JPEG_ICC, _JPEG_ADOBE, _JPEG_APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF


def _jpeg(data):
    yield data[:2]
    place, scans, exif_seen = 2, 0, False
    for _ in _pieces():
        found = _JPEG_MARKER.search(data, place)
        if not found:
            return  # There is no end: let the decoder judge whether all pixels are there.
        marker, start = found[0][1], found.start()
        if marker == _JPEG_EOI:
            yield b"\xff\xd9"  # What follows (a phone's second picture, with its own EXIF) is left out.
            return
        end = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
        if end > len(data):
            raise BrokenPicture("the file is cut off")
        body = data[start + 4 : end]
        place = end
        if marker == _JPEG_SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise BrokenPicture(f"the JPEG has more than {MAX_SCANS} scans: no camera writes that")
            following = _JPEG_MARKER.search(data, end)
            place = following.start() if following else len(data)
            yield data[start:place]
        elif marker == _JPEG_APP0 and body[:5] == b"JFIF\0" and len(body) >= 14:
            yield b"\xff\xe0\x00\x10" + bytes(body[:12]) + b"\0\0"  # Version and density, no thumbnail.
        elif marker == _JPEG_EXIF and body[:6] == b"Exif\0\0" and not exif_seen:
            exif_seen = True
            if only := _orientation_only(body):
                yield b"\xff\xe1" + struct.pack(">H", len(only) + 2) + only
        elif (
            not _JPEG_APP0 <= marker <= _JPEG_APP15
            and marker != _JPEG_COMMENT
            or marker == _JPEG_ICC
            and body[:12] == b"ICC_PROFILE\0"
            or marker == _JPEG_ADOBE
            and body[:5] == b"Adobe"  # Says how the colors are stored.
        ):
            yield data[start:end]


_PNG_KEEP = b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs cICP acTL fcTL fdAT".split()


def _png(data):
    chunks = _png_chunks(data)
    exif = next((_orientation_only(body) for name, body, _ in chunks if name == b"eXIf"), b"")
    yield data[:8]
    for name, _, whole in _png_chunks(data):
        if name in _PNG_KEEP:
            yield whole
        if name == b"IHDR" and exif:
            chunk = b"eXIf" + exif.removeprefix(b"Exif\0\0")
            yield struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _png_chunks(data):
    """Yield (name, body, whole chunk) of a PNG up to its end chunk."""
    place, name = 8, b""
    for _ in _pieces():
        if place >= len(data) or name == b"IEND":
            return
        length, name = struct.unpack_from(">I4s", data, place)
        start, place = place, place + 12 + length
        if place > len(data):
            raise BrokenPicture("the file is cut off")
        yield name, data[start + 8 : place - 4], data[start:place]


_GIF_IMAGE, _GIF_EXTENSION, _GIF_CONTROL, _GIF_APPLICATION = 0x2C, 0x21, 0xF9, 0xFF
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def _gif(data):
    def after_palette(place, flags):
        return place + (3 << (flags & 7) + 1 if flags & 0x80 else 0)

    def after_blocks(place):
        while size := data[place]:
            place += size + 1
        return place + 1

    place = after_palette(13, data[10])
    yield data[:place]
    for _ in _pieces():
        if place >= len(data) or data[place] not in (_GIF_IMAGE, _GIF_EXTENSION):
            break
        if data[place] == _GIF_IMAGE:
            end, keep = after_blocks(after_palette(place + 10, data[place + 9]) + 1), True
        else:
            label, end = data[place + 1], after_blocks(place + 2)
            keep = label == _GIF_CONTROL or label == _GIF_APPLICATION and data[place + 3 : place + 14] in _GIF_LOOPS
        if keep:
            yield data[place:end]
        place = end
    yield b"\x3b"


_WEBP_KEEP = b"VP8 ,VP8L,VP8X,ALPH,ANIM,ANMF,ICCP".split(b",")
_WEBP_FLAG_EXIF, _WEBP_FLAG_XMP = 0x08, 0x04
_WEBP_FRAME_HEADER = 16


def _webp(data):
    def chunk(name, body):
        return [struct.pack("<4sI", name, sum(map(len, body))), *body, b"\0" * (sum(map(len, body)) % 2)]

    def chunks(data):
        place = 0
        for _ in _pieces():
            if place + 8 > len(data):
                return
            name, length = struct.unpack_from("<4sI", data, place)
            if place + 8 + length > len(data):
                raise BrokenPicture("the file is cut off")
            yield name, data[place + 8 : place + 8 + length]
            place += 8 + length + length % 2

    size = struct.unpack_from("<I", data, 4)[0]
    if size + 8 > len(data):
        raise BrokenPicture("the file is cut off")
    found = list(chunks(data[12 : size + 8]))
    exif = next((_orientation_only(body) for name, body in found if name == b"EXIF"), b"").removeprefix(b"Exif\0\0")
    kept = []
    for name, body in found:
        parts = [body]
        if name == b"VP8X":
            flags = body[0] & ~(_WEBP_FLAG_EXIF | _WEBP_FLAG_XMP) | (_WEBP_FLAG_EXIF if exif else 0)
            parts = [bytes([flags]), body[1:]]
        elif name == b"ANMF":
            inner = [chunk(n, [b]) for n, b in chunks(body[_WEBP_FRAME_HEADER:]) if n in _WEBP_KEEP]
            parts = [body[:_WEBP_FRAME_HEADER], *itertools.chain(*inner)]
        if name in _WEBP_KEEP:
            kept += chunk(name, parts)
    if exif:
        kept += chunk(b"EXIF", [exif])
    yield struct.pack("<4sI4s", b"RIFF", 4 + sum(map(len, kept)), b"WEBP")
    yield from kept


_AVIF_KEEP = (b"ftyp", b"meta", b"mdat")
_AVIF_PRIVATE_ITEMS = (b"Exif", b"mime", b"uri ")  # mime items hold XMP.


def _avif(data):
    """AVIF refers to its parts by their place in the file: what must go is overwritten with zeros and stays as long."""
    out = bytearray(data)

    def boxes(start, end):
        for _ in _pieces():
            if start + 8 > end:
                return
            size, name = struct.unpack_from(">I4s", data, start)
            head = 8
            if size == 1:
                size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
            stop = start + size if size else end
            if size and size < head or stop > end:
                raise BrokenPicture("the file is cut off or damaged")
            yield name, start, start + head, stop
            start = stop

    blanked = 0

    def blank(start, end):
        nonlocal blanked
        blanked += end - start
        if end > len(out) or blanked > len(out):
            raise BrokenPicture("the file is cut off or damaged")
        out[start:end] = bytes(end - start)

    first = bytes(data[: struct.unpack_from(">I", data)[0]])  # The ftyp box names the kinds of file that this is.
    for name, start, body, end in boxes(0, len(data)):
        if name not in _AVIF_KEEP:
            blank(body, end)
            out[start + 4 : start + 8] = b"free"
            if name == b"moov":  # The list of an animation's frames: without it the file is a still picture.
                out[: len(first)] = first.replace(b"avis", b"avif")
        elif name == b"meta":
            inside = {n: (b, e) for n, _, b, e in boxes(body + 4, end)}
            private = set()
            if b"iinf" in inside:
                at, last = inside[b"iinf"]
                for _, _, entry, entry_end in boxes(at + (8 if data[at] else 6), last):
                    number, kind_at = struct.unpack_from(">H2x", data, entry + 4)[0], entry + 8
                    if data[entry] == 3:
                        number, kind_at = struct.unpack_from(">I2x", data, entry + 4)[0], entry + 10
                    if data[kind_at : kind_at + 4] in _AVIF_PRIVATE_ITEMS:
                        private.add(number)
                        blank(kind_at + 4, entry_end)
                        out[kind_at : kind_at + 4] = b"skip"
            if private:
                in_meta = inside.get(b"idat", (0, 0))[0]
                for number, begin, length, method in _avif_extents(data, *inside[b"iloc"]):
                    if number in private:
                        if not length:
                            raise BrokenPicture("its metadata has no stated end and can't be taken out")
                        begin += in_meta if method == 1 else 0
                        blank(begin, begin + length)
    yield out


def _avif_extents(data, place, end):
    """Yield (item, start, length, method) for each piece named by an `iloc` box's body: ISO 14496-12, 8.11.3."""
    version = data[place]

    def number(size):
        nonlocal place
        if place + size > end:
            raise BrokenPicture("the file is cut off or damaged")
        place += size
        return int.from_bytes(data[place - size : place])

    place += 4
    sizes = number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        extents = number(2)
        if extents > 1 and not offset_size + length_size:
            raise BrokenPicture("the file is damaged")
        for _ in range(extents):
            number(index_size)
            offset = number(offset_size)
            yield item, base + offset, number(length_size), method


_STRIPPERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp, "AVIF": _avif}
