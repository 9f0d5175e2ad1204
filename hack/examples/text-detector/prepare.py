"""Writes what `forebay serve text-detector.yaml` needs: the text detector of PP-OCRv4, and pages to try it on.

python prepare.py [OUT]     OUT is build/ beside this file when left out

OUT/repository/text-detector/   a Triton repository: config.pbtxt, 1/model.onnx (Apache-2.0, PaddleOCR, as packed
                                in the wheel of rapidocr-onnxruntime)
OUT/pictures/page-<n>.png       pages with drawn lines of text
OUT/pictures/page-<n>.json      where the lines are: [{"text": ..., "box": [[x, y] x 4]}], pixels, clockwise from the
                                upper left
"""

import importlib.util
import json
import random
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
PAGES = 6
PAGE_SIZE_PX = (800, 600)
MARGIN_PX = 40
LINE_GAP_PX = 24
SENTENCE = "the river rises in spring and the basin above the mill holds what the wheel cannot take at once"


def prepare(out: Path) -> None:
    """Write the repository and the pages."""
    folder = out / "repository" / "text-detector"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "config.pbtxt", folder)
    shutil.copy(find_detector(), folder / "1" / "model.onnx")
    pictures = out / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    for number in range(PAGES):
        picture, truth = draw_page(random.Random(number))
        picture.save(pictures / f"page-{number}.png")
        (pictures / f"page-{number}.json").write_text(json.dumps(truth, indent=1))


def find_detector() -> Path:
    """The detector's ONNX file inside the installed package, which isn't imported: that would load three models."""
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or spec.origin is None:
        sys.exit("rapidocr-onnxruntime is missing: uv sync --group examples")
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*det*.onnx"))))


def draw_page(dice: random.Random) -> tuple[Image.Image, list[dict]]:
    """Draw a page with lines of text of several sizes, and say where they are."""
    width, height = PAGE_SIZE_PX
    page = Image.new("RGB", PAGE_SIZE_PX, (dice.randint(225, 255),) * 3)
    draw = ImageDraw.Draw(page)
    truth, top = [], MARGIN_PX
    while True:
        font = ImageFont.load_default(size=dice.choice([18, 22, 28, 36]))
        left = MARGIN_PX + dice.randint(0, 60)
        words = dice.sample(SENTENCE.split(), k=dice.randint(2, 6))
        while draw.textlength(" ".join(words), font) > width - left - MARGIN_PX:
            words.pop()
        x0, y0, x1, y1 = draw.textbbox((left, top), " ".join(words), font)
        if y1 > height - MARGIN_PX:
            return page, truth
        draw.text((left, top), " ".join(words), fill=(dice.randint(0, 70),) * 3, font=font)
        truth.append({"text": " ".join(words), "box": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]})
        top = int(y1) + LINE_GAP_PX


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "build"
    prepare(target)
    sys.stdout.write(f"written to {target}\n")
