"""Faces are found wherever they are and however big."""

import io
import random

import pytest
from PIL import Image

import hostile
from cropper import photo
from cropper.photo import Request, make_crop

# Around the face in the portrait, which has 512 by 512 pixels: checked by eye. autocrop leaves twice the face's height.
FACE_BOX = (112, 8, 338, 234)
HEAD_AND_SHOULDERS = (60, 0, 400, 340)


def overlap(one, other):
    """Return the intersection over the union of two boxes, 0 to 1."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, across) * max(0, down)
    return both / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - both)


def backgrounds(dice):
    """Yield backgrounds without a face, for ever: flat, soft, and noisy ones."""
    while True:
        yield Image.new("RGB", (8, 8), tuple(dice.randbytes(3)))
        yield Image.frombytes("RGB", (12, 9), dice.randbytes(324))
        yield Image.frombytes("RGB", (160, 120), dice.randbytes(57600))


def compositions(portrait, count):
    """Yield `count` JPEGs with the portrait's head pasted in, from a tenth to nearly all of the height, with the face's box."""
    dice = random.Random(11)
    head = Image.open(portrait).convert("RGB").crop(HEAD_AND_SHOULDERS)
    for _, background in zip(range(count), backgrounds(dice)):
        width, height = dice.choice(((800, 600), (1632, 1224), (1224, 1632), (2400, 1800)))
        image = background.resize((width, height), Image.Resampling.BICUBIC)
        side = round(min(width, height) * dice.uniform(0.1, 0.95))
        left, top = dice.randint(0, width - side), dice.randint(0, height - side)
        image.paste(head.resize((side, side), Image.Resampling.LANCZOS), (left, top))
        scale = side / head.width
        face = [round((edge - HEAD_AND_SHOULDERS[i % 2]) * scale) + (left, top)[i % 2] for i, edge in enumerate(FACE_BOX)]
        yield hostile.encoded(image, "JPEG", quality=90), face


def test_faces_of_all_sizes_and_places(portrait):
    """Of 100 photos at least 98 faces are found, and none where there is none."""
    crops = [(make_crop(data, Request("face")), face) for data, face in compositions(portrait, 100)]
    found = [(crop.box, face) for crop, face in crops if not crop.note]
    wrong = [(box, face) for box, face in found if overlap(box, face) < 0.5]
    assert len(found) >= 98
    assert wrong == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_taken_sideways(portrait, orientation):
    with Image.open(portrait) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        back = {6: 8, 8: 6}.get(orientation, orientation)
        stored = image.transpose(photo._UPRIGHT[back]) if back in photo._UPRIGHT else image
        crop = make_crop(hostile.encoded(stored, "JPEG", quality=95, exif=exif), Request("face"))
        assert not crop.note
        assert overlap(crop.box, FACE_BOX) > 0.8
        cut = Image.open(io.BytesIO(crop.cropped)).convert("RGB")
        assert max(hostile.difference(cut, image.convert("RGB").crop(crop.box))) < 12


@pytest.mark.parametrize("mode", ("L", "RGBA", "P", "CMYK", "LA"))
def test_a_face_in_any_kind_of_pixels(portrait, mode):
    with Image.open(portrait) as image:
        data = hostile.encoded(image.resize((1024, 1024)).convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    crop = make_crop(data, Request("face"))
    assert not crop.note
    assert overlap(crop.box, [2 * edge for edge in FACE_BOX]) > 0.6


@pytest.mark.parametrize("size", ((500, 500), (300, 600), (600, 300)))
def test_the_shape_asked_for(portrait, size):
    with Image.open(portrait) as image:
        crop = make_crop(hostile.encoded(image.resize((3000, 3000)), "JPEG"), Request("face", *size))
    assert crop.size == size
    left, top, right, bottom = crop.box
    assert (right - left) / (bottom - top) == pytest.approx(size[0] / size[1], rel=0.01)


def test_a_small_face_in_a_big_photo_is_cut_from_all_its_pixels(portrait):
    with Image.open(portrait) as image:
        big = Image.new("RGB", (4000, 3000), "gray")
        big.paste(image.resize((1000, 1000)), (2000, 1500))
    crop = make_crop(hostile.encoded(big, "JPEG"), Request("face"))
    assert crop.size == (crop.box[2] - crop.box[0], crop.box[3] - crop.box[1])
    assert 300 < crop.size[0] < 500


def test_the_larger_of_two_faces(portrait):
    with Image.open(portrait) as image:
        both = Image.new("RGB", (1500, 1000), "gray")
        both.paste(image.resize((400, 400)), (50, 50))
        both.paste(image.resize((900, 900)), (550, 50))
    crop = make_crop(hostile.encoded(both, "JPEG"), Request("face"))
    assert overlap(crop.box, [round(edge * 900 / 512) + (550, 50)[i % 2] for i, edge in enumerate(FACE_BOX)]) > 0.8


@pytest.mark.parametrize("size", ((1200, 900), (2500, 40), (3, 2000), (1, 1), (10_000, 16), (10_000, 1)))
def test_without_a_face_the_center_is_taken_and_it_says_so(size):
    data = hostile.encoded(hostile.picture(*size), "PNG")
    crop, center = make_crop(data, Request("face")), make_crop(data, Request("center"))
    assert crop.note == "center-fallback" and not center.note
    assert (crop.box, crop.cropped) == (center.box, center.cropped)
