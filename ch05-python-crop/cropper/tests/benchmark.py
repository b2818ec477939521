"""Measure how fast photos are cropped, beside other ways to do it, in one run on one machine.

`python benchmark.py PORTRAIT WIDTH HEIGHT COUNT` composes COUNT photos with the portrait in them in a temporary folder and
prints a JSON object with the photos per second of each way: the median of three rounds, in which the ways take turns.
"""

import concurrent.futures
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops

AUTOCROP_PHOTOS = 3  # It takes seconds for each.


def compose(portrait, width, height, count, folder):
    """Write photos of width by height pixels: soft shapes, grain as from a camera, and a face a fifth to all of the height.

    Each of the twelve different ones is there under several names. They have 1.5 bits per pixel (2.3 MB at 12 megapixels),
    as from a phone in good light.
    """
    dice = random.Random(3)
    head = Image.open(portrait).convert("RGB").crop((60, 0, 400, 340))
    grain = Image.effect_noise((width, height), 3.5).convert("RGB")
    for number in range(12):
        image = Image.frombytes("RGB", (12, 9), dice.randbytes(324)).resize((width, height), Image.Resampling.BICUBIC)
        side = round(height * dice.uniform(0.2, 0.95))
        image.paste(head.resize((side, side)), (dice.randint(0, width - side), dice.randint(0, height - side)))
        image = ImageChops.add(image, grain, 1, -128)
        image.save(folder / f"{number}.jpg", quality=90)
        for copy in range(number + 12, count, 12):
            shutil.copy(folder / f"{number}.jpg", folder / f"{copy}.jpg")


def decode_and_encode(path):
    """Do what no way to crop can do without, if it decodes all pixels: decode them, and encode 500 by 500 of them."""
    with Image.open(path) as image:
        image.load()
        image.crop((0, 0, 500, 500)).save(io.BytesIO(), "JPEG", quality=90)


def main(portrait, width, height, count):
    """Return {way: photos per second}."""
    rates = {}
    with tempfile.TemporaryDirectory() as top:
        photos = Path(top, "photos")
        photos.mkdir()
        compose(portrait, width, height, count, photos)
        paths = sorted(photos.iterdir())

        def crop(mode, workers):
            out = tempfile.mkdtemp(dir=top)
            command = [sys.executable, "-m", "cropper", photos, "--mode", mode, "--workers", str(workers), "--out", out]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            assert f"{count} cropped" in done.stdout, done.stdout
            return count

        def floor():
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                list(pool.map(decode_and_encode, paths))
            return count

        def autocrop():
            for path in paths[:AUTOCROP_PHOTOS]:
                command = ["autocrop", path, "-o", Path(top, "out.jpg")]
                subprocess.run(command, check=False, capture_output=True)  # 1 where it finds no face.
            return AUTOCROP_PHOTOS

        ways = {
            "autocrop": autocrop,
            "floor": floor,
            "center, 2 workers": lambda: crop("center", 2),
            "face, 2 workers": lambda: crop("face", 2),
            "face, 1 worker": lambda: crop("face", 1),
        }
        for _ in range(3):
            for name, way in ways.items():
                begin = time.perf_counter()
                rates.setdefault(name, []).append(way() / (time.perf_counter() - begin))
    return {name: statistics.median(measured) for name, measured in rates.items()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
