"""What a crop looks like, for every kind of photo."""

import functools
import hashlib
import io
import random

import pytest
from PIL import Image, ImageChops, ImageCms, ImageFilter

import hostile
from cropper import photo
from cropper.photo import BrokenPicture, Request, make_crop

RED, GREEN, BLUE, WHITE, GRAY = (254, 0, 0), (0, 255, 1), (0, 0, 254), (255, 255, 255), (128, 128, 128)


def crop_of(data, **request):
    """Return the crop as a Pillow image, and the Crop."""
    crop = make_crop(data, Request(**request))
    return Image.open(io.BytesIO(crop.cropped)), crop


def difference(one, other):
    """Return how much two pictures differ: the mean over all pixels and channels, of at most 255."""
    return sum(hostile.difference(one.convert("RGB"), other.convert("RGB"))) / 3


def like(color, pixel, tolerance=4):
    return all(abs(a - b) <= tolerance for a, b in zip(color, pixel))


def scene(width, height, seed=1):
    """Return a picture with soft shapes of every size, different everywhere."""
    dice = random.Random(seed)
    image = Image.frombytes("RGB", (16, 12), dice.randbytes(576)).resize((width, height), Image.Resampling.BICUBIC)
    return ImageChops.add(image, hostile.picture(width, height), scale=2)


def as_stored(image, orientation):
    """Return `image` turned so that a viewer who heeds `orientation` shows it as it was; and the EXIF that says so."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image.transpose(photo._UPRIGHT[back]) if back in photo._UPRIGHT else image, exif


@pytest.mark.parametrize("format", ("JPEG", "PNG", "WEBP", "AVIF"))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_same_upright_crop(format, orientation):
    upright = scene(600, 400)
    stored, exif = as_stored(upright, orientation)
    data = hostile.encoded(stored, format, quality=95, exif=exif)
    image, crop = crop_of(data, width=120, height=150)
    assert crop.box == (140, 0, 460, 400)
    assert difference(image, upright.crop(crop.box).resize((120, 150), Image.Resampling.LANCZOS)) < 2.5
    with Image.open(io.BytesIO(crop.original)) as original:
        assert dict(original.getexif()) == ({} if orientation == 1 else {0x0112: orientation})


@pytest.mark.parametrize(
    "size, asked, box, result",
    [
        ((600, 400), (500, 500), (100, 0, 500, 400), (400, 400)),  # too small: the shape asked for, its own pixels
        ((400, 600), (500, 500), (0, 100, 400, 500), (400, 400)),
        ((1000, 1000), (500, 500), (0, 0, 1000, 1000), (500, 500)),
        ((1000, 1000), (400, 200), (0, 250, 1000, 750), (400, 200)),
        ((1001, 999), (300, 300), (1, 0, 1000, 999), (300, 300)),
        ((1, 3000), (500, 500), (0, 1500, 1, 1501), (1, 1)),
        ((3000, 1), (4096, 1), (0, 0, 3000, 1), (3000, 1)),
        ((640, 480), (640, 480), (0, 0, 640, 480), (640, 480)),
        ((20, 20), (1, 1), (0, 0, 20, 20), (1, 1)),
    ],
)
def test_shape_and_size(size, asked, box, result):
    image, crop = crop_of(hostile.encoded(hostile.picture(*size), "PNG"), width=asked[0], height=asked[1])
    assert crop.box == box
    assert crop.size == image.size == result


@pytest.mark.parametrize("size", ((2400, 1800), (2399, 1797), (1632, 1224), (801, 533)))
@pytest.mark.parametrize("progressive", (False, True))
def test_a_reduced_decode_looks_like_a_full_one(size, progressive):
    data = hostile.encoded(scene(*size), "JPEG", quality=92, progressive=progressive)
    image, crop = crop_of(data)
    with Image.open(io.BytesIO(data)) as whole:
        best = whole.crop(crop.box).resize(crop.size, Image.Resampling.LANCZOS)
    assert difference(image, best) < 2
    # An error of one pixel in the place would show more than that.
    assert difference(image, ImageChops.offset(best, 2, 2)) > difference(image, best)


@pytest.mark.parametrize("format", ("jpeg", "png", "webp"))
def test_formats_of_the_crop(format):
    image, crop = crop_of(hostile.encoded(scene(300, 200), "JPEG"), format=format)
    assert image.format == format.upper()
    assert crop.cropped_type == f"image/{format}" == Image.MIME[image.format]
    assert crop.original_type == "image/jpeg"


def two_halves(color, other, mode):
    image = Image.new(mode, (200, 200), color)
    image.paste(other, (100, 0, 200, 200))
    return image


def test_transparency_becomes_white_in_a_jpeg_and_stays_in_the_others():
    data = hostile.encoded(two_halves((255, 0, 0, 255), (0, 255, 0, 0), "RGBA"), "PNG")
    image, _ = crop_of(data, width=100, height=100)
    assert like(RED, image.getpixel((20, 50))) and like(WHITE, image.getpixel((80, 50)))
    for format in ("png", "webp"):
        image, _ = crop_of(data, width=100, height=100, format=format)
        assert image.getpixel((20, 50))[3] == 255 and image.getpixel((80, 50))[3] == 0


def test_half_transparent_edges_have_no_dark_fringe():
    clear_black = two_halves((255, 0, 0, 255), (0, 0, 0, 0), "RGBA")
    image, _ = crop_of(hostile.encoded(clear_black, "PNG"), width=51, height=51, format="png")
    assert all(pixel[0] > 250 for pixel in image.get_flattened_data() if pixel[3])


@pytest.mark.parametrize(
    "image",
    [
        two_halves(RED, BLUE, "RGB").convert("P", palette=Image.Palette.ADAPTIVE),
        two_halves(RED, BLUE, "RGB").convert("RGBA"),
        two_halves(RED, BLUE, "RGB").quantize(2),
    ],
    ids=("palette", "alpha", "1-bit palette"),
)
def test_kinds_of_pixels_keep_their_colors(image):
    cropped, _ = crop_of(hostile.encoded(image, "PNG"), width=100, height=100)
    assert like(RED, cropped.getpixel((20, 50))) and like(BLUE, cropped.getpixel((80, 50)))


@pytest.mark.parametrize(
    "mode, dark, light", [("L", 30, 220), ("LA", (30, 255), (220, 255)), ("1", 0, 1), ("I;16", 7710, 56540)]
)
def test_kinds_of_gray_keep_their_brightness(mode, dark, light):
    image = Image.new(mode, (200, 200), dark)
    image.paste(Image.new(mode, (100, 200), light), (100, 0))
    cropped, _ = crop_of(hostile.encoded(image, "PNG"), width=100, height=100)
    black, white = (0, 255) if mode == "1" else (30, 220)
    assert like((black,) * 3, cropped.getpixel((20, 50))) and like((white,) * 3, cropped.getpixel((80, 50)))


def test_cmyk_looks_like_its_colors():
    cropped, _ = crop_of(
        hostile.encoded(two_halves(RED, GRAY, "RGB").convert("CMYK"), "JPEG", quality=95), width=100, height=100
    )
    assert cropped.mode == "RGB"
    assert like(RED, cropped.getpixel((20, 50)), 12) and like(GRAY, cropped.getpixel((80, 50)), 12)


@functools.cache  # A profile has the time of its making in it.
def profile_with_red_and_green_swapped():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"????"), (b"gXYZ", b"rXYZ"), (b"????", b"gXYZ")):
        profile = profile.replace(old, new, 1)
    return profile


@pytest.mark.parametrize("format, mode", [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB")])
def test_the_color_profile_is_applied(format, mode):
    image = two_halves(RED, GRAY, "RGB").convert(mode)
    data = hostile.encoded(image, format, icc_profile=profile_with_red_and_green_swapped(), quality=95)
    cropped, crop = crop_of(data, width=100, height=100)
    assert like(GREEN, cropped.getpixel((20, 50)), 12) and like(GRAY, cropped.getpixel((80, 50)), 12)
    assert "icc_profile" not in cropped.info
    with Image.open(io.BytesIO(crop.original)) as original:
        assert original.info["icc_profile"] == profile_with_red_and_green_swapped()


@pytest.mark.parametrize("format", ("GIF", "PNG", "WEBP", "AVIF"))
def test_an_animation_gives_its_first_frame(format):
    colors = [Image.new("RGB", (90, 90), color) for color in (RED, GREEN, BLUE)]
    data = hostile.encoded(colors[0], format, save_all=True, append_images=colors[1:], duration=90)
    cropped, _ = crop_of(data, width=50, height=50)
    assert like(RED, cropped.getpixel((25, 25)), 8)


@pytest.mark.parametrize("format", ("JPEG", "GIF", "PNG"))
def test_the_crop_has_no_metadata(format):
    comment = {"comment": b"Elm Street 13"}
    cropped, crop = crop_of(hostile.encoded(hostile.picture(), format, **comment))
    assert set(cropped.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"Elm Street" not in crop.cropped + crop.original


def test_the_crop_is_of_good_quality_and_of_reasonable_size():
    data = hostile.encoded(scene(2000, 1500).filter(ImageFilter.GaussianBlur(1)), "JPEG", quality=95)
    assert 3_000 < len(crop_of(data)[1].cropped) < 120_000


def test_little_memory_gives_a_smaller_crop_or_a_refusal(monkeypatch):
    jpeg, png = (hostile.encoded(scene(2000, 1600), format) for format in ("JPEG", "PNG"))
    monkeypatch.setattr(photo, "MAX_MEMORY", 2 * len(jpeg) + 900_000)  # Enough for 500 by 400 pixels.
    assert crop_of(jpeg)[1].size == (400, 400)
    assert crop_of(jpeg, width=200, height=200)[1].size == (200, 200)
    for data in (png, hostile.encoded(scene(2000, 1600), "JPEG", progressive=True)):
        with pytest.raises(BrokenPicture, match="2000 by 1600 pixels take more memory"):
            make_crop(data, Request())


def test_the_key_is_made_of_the_file_and_the_request():
    assert Request("face", 500, 400).key(b"abc") == hashlib.sha256(b"abc\0face 500x400 jpeg").hexdigest()
    requests = [Request(), Request("face"), Request(width=400), Request(height=400), Request(format="png")]
    assert len({request.key(b"abc") for request in requests} | {Request().key(b"abd")}) == 6


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("format", ("JPEG", "PNG", "GIF", "WEBP", "AVIF"))
def test_damaged_files_are_cropped_or_refused_with_a_reason(format, seed):
    dice = random.Random(f"{format} {seed}")
    whole = hostile.encoded(scene(120, 90), format)
    for _ in range(10):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 2, 10))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        data = bytes(data[: dice.choice((len(data), dice.randrange(len(data))))])
        try:
            crop = make_crop(data, Request())
        except BrokenPicture as reason:
            assert str(reason) and "<_io" not in str(reason)
        else:
            Image.open(io.BytesIO(crop.cropped)).load()
