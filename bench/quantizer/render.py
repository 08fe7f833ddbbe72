"""Lines of real text drawn with real fonts, as the text models of PaddleOCR want to see them. Runs in the peer's
environment, that has Pillow.

python render.py TEXT FONTS OUT     TEXT: a line a sample; writes OUT/cls.npz and OUT/rec-<width>.npz
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT, CLS_WIDTH, STEP = 48, 192, 64


def draw(text: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """[48, w, 3] bytes, black on white, with the margin of a text detector."""
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (int(right - left) + 12, int(bottom - top) + 10), "white")
    ImageDraw.Draw(image).text((6 - left, 5 - top), text, font=font, fill="black")
    width = max(8, round(image.width * HEIGHT / image.height))
    return np.asarray(image.resize((width, HEIGHT), Image.Resampling.BILINEAR))


def normalize(pixels: np.ndarray, width: int) -> np.ndarray:
    """[3, 48, width] in -1 to 1, blue first, padded on the right with 0."""
    values = (pixels[:, :width, ::-1].astype(np.float32) / 255 - 0.5) / 0.5
    padded = np.zeros((3, HEIGHT, width), np.float32)
    padded[:, :, : values.shape[1]] = values.transpose(2, 0, 1)
    return padded


def main(text: Path, fonts: Path, out: Path) -> None:
    """Every second line of `cls` stands on its head."""
    lines = text.read_text().splitlines()
    faces = [ImageFont.truetype(str(path), 32) for path in sorted(fonts.rglob("*.ttf"))]
    images = [draw(line, faces[number % len(faces)]) for number, line in enumerate(lines)]
    turned = [image[::-1, ::-1] if number % 2 else image for number, image in enumerate(images)]
    labels = np.arange(len(images), dtype=np.int64) % 2
    np.savez(out / "cls.npz", x=np.stack([normalize(each, CLS_WIDTH) for each in turned]), label=labels)
    by_width = defaultdict(list)
    for line, image in zip(lines, images, strict=True):
        by_width[-(-image.shape[1] // STEP) * STEP].append((normalize(image, -(-image.shape[1] // STEP) * STEP), line))
    for width, rows in by_width.items():
        np.savez(out / f"rec-{width:04}.npz", x=np.stack([row for row, _ in rows]), label=[line for _, line in rows])


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:4]))
