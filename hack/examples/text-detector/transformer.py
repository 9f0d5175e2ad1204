"""Makes a tensor of a picture, and boxes around lines of text of the detector's map of probabilities."""

import cv2
import numpy as np

from forebay.serving import BadRequest

INPUT, OUTPUT = "x", "sigmoid_0.tmp_0"
LONGEST_SIDE_PX = 1280
# The network halves the picture five times.
STEP_PX = 32
# A pixel is ink above this probability; a box is kept above that mean.
PIXEL_THRESHOLD = 0.3
BOX_THRESHOLD = 0.5
SMALLEST_SIDE_PX = 3
# The network is trained on shrunken lines: area over perimeter, times this, is what a box grows by on each side.
GROWTH = 1.6


class TextDetector:
    """Takes a PNG or JPEG file; answers {"detections": [{"box": [[x, y] x 4], "confidence": 0.9}]}."""

    def preprocess(self, payload, request):
        if isinstance(payload, dict) and INPUT in payload:
            return {INPUT: np.asarray(payload[INPUT], dtype=np.float32)}
        if not isinstance(payload, bytes) or not payload:
            raise BadRequest(f"send a picture (PNG or JPEG) as the body, or a v2 request with the input `{INPUT}`")
        picture = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise BadRequest("this is no picture that can be read: send a PNG or JPEG file")
        height, width = picture.shape[:2]
        scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
        size = [max(STEP_PX, round(side * scale / STEP_PX) * STEP_PX) for side in (width, height)]
        request.state["picture_size_px"] = (width, height)
        scaled = cv2.resize(picture, size).astype(np.float32) / 255
        return {INPUT: ((scaled - 0.5) / 0.5).transpose(2, 0, 1)[np.newaxis]}

    def postprocess(self, outputs, request):
        if request.protocol == "v2":
            return outputs
        probabilities = np.asarray(outputs[OUTPUT])[0, 0]
        found = find_boxes(probabilities)
        height, width = probabilities.shape
        size = np.array(request.state.get("picture_size_px", (width, height)), np.float32)
        stretch = size / (width, height)
        detections = [
            {"box": np.clip(box * stretch, 0, size).round(1).tolist(), "confidence": round(confidence, 4)}
            for box, confidence in found
        ]
        # As one reads: from the top, then from the left.
        return {"detections": sorted(detections, key=lambda found: (found["box"][0][1], found["box"][0][0]))}


def find_boxes(probabilities):
    """Find the lines in a map [height, width]: [(four corners in the map's pixels, confidence 0 to 1)]."""
    ink = (probabilities > PIXEL_THRESHOLD).astype(np.uint8)
    contours, _ = cv2.findContours(ink, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in contours:
        center, sides, angle = cv2.minAreaRect(contour)
        if min(sides) < SMALLEST_SIDE_PX:
            continue
        confidence = mean_inside(probabilities, cv2.boxPoints((center, sides, angle)))
        if confidence < BOX_THRESHOLD:
            continue
        growth_px = sides[0] * sides[1] * GROWTH / (2 * (sides[0] + sides[1]))
        grown = (sides[0] + 2 * growth_px, sides[1] + 2 * growth_px)
        boxes.append((clockwise(cv2.boxPoints((center, grown, angle))), confidence))
    return boxes


def mean_inside(probabilities, corners):
    """The mean probability inside four corners."""
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = probabilities[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [np.round(corners - low).astype(np.int32)], 1)
    return float(cv2.mean(part.astype(np.float32), mask)[0])


def clockwise(corners):
    """Order four corners clockwise on the screen, from the one nearest to the upper left."""
    center = corners.mean(axis=0)
    around = corners[np.argsort(np.arctan2(corners[:, 1] - center[1], corners[:, 0] - center[0]))]
    return np.roll(around, -int(np.argmin(around.sum(axis=1))), axis=0)
