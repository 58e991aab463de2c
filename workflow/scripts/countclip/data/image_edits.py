"""Edits of an image by the boxes of its objects: painted out, copied elsewhere, or cropped away.

Images are uint8 (height, width, 3) RGB. Boxes are float (n, 4): x1, y1, x2, y2 in pixels. An edit
that does not fit raises Refused and changes nothing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

PLACES, WINDOWS = 400, 4000
"""Places that are tried for a copy, and windows that are tried for a crop."""
RADIUS = 3
"""Pixels around a hole that inpainting reads."""
RING = 12
"""Pixels around a hole whose grain is measured."""
CALM = 30
"""Difference to its neighbourhood below which a pixel is grain and no edge of a thing."""
RING_SHARE = 0.25
"""Width of the ring that a patch must fit, a share of the hole's longer side."""
GRABCUT_ROUNDS = 2
LEAST_MASK = 0.1
"""Share of a box that a mask must cover, to be an object's."""


class Refused(ValueError):
    """An edit that does not fit; its text is the reason, one word of a funnel."""


@dataclass(frozen=True)
class EditSettings:
    """Settings of edits.

    margin: what a box is grown by, a share of its longer side; at least a pixel.
    fill: of a hole: `patch`, ground of the same image that fits around it; `telea`, inpainting.
    copied: of a box: the `object` in it alone (GrabCut), or the whole `box` with soft edges.
    max_difference: greatest difference of the ground around a hole to that around its patch, and
        around a copy to that around its original: root mean square of smoothed values to 255.
    crop_min: least side of a crop, a share of the image's shorter side.
    """

    margin: float = 0.1
    fill: str = "patch"
    copied: str = "object"
    max_difference: float = 20.0
    crop_min: float = 0.5


def grown(boxes: np.ndarray, margin: float, size: tuple[int, int]) -> np.ndarray:
    """Boxes in whole pixels, int (n, 4), with their margin, cut at the image's edge.

    size: height and width of the image.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    by = np.maximum(1, np.round(margin * sides.max(axis=1, initial=0)))[:, None]
    low = np.maximum(0, np.floor(boxes[:, :2]) - by)
    high = np.minimum([size[1], size[0]], np.ceil(boxes[:, 2:]) + by)
    return np.hstack([low, high]).astype(int)


def shared_areas(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Areas that boxes share, (left, right)."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Area of each box."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def overlaps(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Shared area of boxes as a share of the smaller one, (left, right)."""
    smaller = np.minimum(areas(left)[:, None], areas(right)[None, :])
    return shared_areas(left, right) / np.maximum(smaller, 1e-9)


# ---- fewer ----


def erase(
    image: np.ndarray,
    boxes: np.ndarray,
    others: np.ndarray,
    rng: np.random.Generator,
    settings: EditSettings,
) -> np.ndarray:
    """Paint objects out: each grown box is filled with ground.

    others: boxes that must stay whole. Refused: `crowded` where a grown box meets one of them,
    `no_ground` where no ground fits.
    """
    size = image.shape[:2]
    holes = grown(boxes, settings.margin, size)
    others = np.asarray(others, float).reshape(-1, 4)
    if shared_areas(holes, others).any():
        raise Refused("crowded")
    things = np.vstack([holes, grown(others, settings.margin, size)])
    image = image.copy()
    for hole in holes:
        x1, y1, x2, y2 = hole
        image[y1:y2, x1:x2] = (
            _patched(image, hole, things, settings.max_difference)
            if settings.fill == "patch"
            else _inpainted(image, hole, things, rng)
        )
    return image


def _patched(image: np.ndarray, hole: np.ndarray, things: np.ndarray, most: float) -> np.ndarray:
    """A hole's pixels from where the ground around them is most like that around the hole.

    things: grown boxes, which hold no ground. most: EditSettings.max_difference.
    """
    x1, y1, x2, y2 = hole
    window, differences = _unlikeness(image, hole, things)
    top, left, bottom, right = window
    height, width = bottom - top, right - left
    # A patch is ground throughout: nothing of a thing is in its window.
    is_thing = _painted(image.shape[:2], things)
    sums = cv2.integral(is_thing)
    held = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip
    differences = np.where(held == 0, differences, np.inf)
    if not differences.min() <= most:
        raise Refused("no_ground")
    row, column = np.unravel_index(differences.argmin(), differences.shape)
    patch = image[row : row + height, column : column + width].astype(np.float32)
    # The light of the place: the patch's colour is moved to that of the ring.
    known = is_thing[top:bottom, left:right] == 0
    shift = (image[top:bottom, left:right] - patch)[known].mean(axis=0)
    filled = patch[y1 - top : y2 - top, x1 - left : x2 - left] + shift
    return np.clip(np.round(filled), 0, 255).astype(np.uint8)


def _unlikeness(
    image: np.ndarray, box: np.ndarray, things: np.ndarray
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """How unlike the ground around a grown box is to that of each other place.

    Returns the window of the box with a ring around it (top, left, bottom, right), and the root
    mean square difference of the ring at each place of the window's corner. `things` are left out
    of the ring; Refused (`no_ground`) if nothing is left of it.
    """
    x1, y1, x2, y2 = box
    ring = max(3, round(RING_SHARE * max(x2 - x1, y2 - y1)))
    top, left = max(0, y1 - ring), max(0, x1 - ring)
    bottom, right = min(image.shape[0], y2 + ring), min(image.shape[1], x2 + ring)
    known = 1 - _painted(image.shape[:2], things)[top:bottom, left:right].astype(np.float32)
    known[y1 - top : y2 - top, x1 - left : x2 - left] = 0
    if not known.any():
        raise Refused("no_ground")
    smooth = cv2.blur(image, (3, 3)).astype(np.float32)
    squares = cv2.matchTemplate(
        smooth,
        np.ascontiguousarray(smooth[top:bottom, left:right]),
        cv2.TM_SQDIFF,
        mask=np.repeat(known[..., None], 3, axis=2),
    )
    differences = np.sqrt(np.maximum(squares, 0) / (3 * known.sum()))
    return (top, left, bottom, right), np.nan_to_num(differences, nan=np.inf)


def _painted(size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """uint8 (height, width), 1 in the boxes."""
    painted = np.zeros(size, np.uint8)
    for x1, y1, x2, y2 in np.asarray(boxes, int).reshape(-1, 4):
        painted[y1:y2, x1:x2] = 1
    return painted


def _inpainted(
    image: np.ndarray, hole: np.ndarray, things: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A hole's pixels from the ground at its edge (Telea), with grain, whose lack would show."""
    (height, width), (x1, y1, x2, y2) = image.shape[:2], hole
    top, bottom = max(0, y1 - RING), min(height, y2 + RING)
    left, right = max(0, x1 - RING), min(width, x2 + RING)
    part = np.ascontiguousarray(image[top:bottom, left:right])
    # Filled too, and thrown away: other things, whose colours would run into the hole.
    unknown = np.ascontiguousarray(_painted((height, width), things)[top:bottom, left:right])
    if unknown.all():
        raise Refused("no_ground")
    filled = cv2.inpaint(part, unknown, RADIUS, cv2.INPAINT_TELEA)
    smooth = cv2.medianBlur(part, 5).astype(np.int16)
    grain = (part.astype(np.int16) - smooth)[unknown == 0]
    calm = np.abs(grain).max(axis=1) <= CALM
    pixels = filled[y1 - top : y2 - top, x1 - left : x2 - left].astype(np.int16)
    if calm.any():
        pixels += grain[calm][rng.integers(calm.sum(), size=pixels.shape[:2])]
    return np.clip(pixels, 0, 255).astype(np.uint8)


# ---- more ----


def paste(
    image: np.ndarray,
    boxes: np.ndarray,
    obstacles: np.ndarray,
    copies: int,
    rng: np.random.Generator,
    settings: EditSettings,
) -> np.ndarray:
    """Copy some of an image's objects, drawn at random, to free places of its central square.

    The square is what CLIP sees. Half of the copies are mirrored. No grown copy meets a grown
    obstacle or another copy, and each lies on ground like that around its original. Refused:
    `no_place`, `no_mask` (GrabCut finds no object in a box), `no_ground`.
    """
    size = image.shape[:2]
    taken = grown(obstacles, settings.margin, size)
    edited = image.copy()
    for _ in range(copies):
        source = grown(boxes[[rng.integers(len(boxes))]], settings.margin, size)[0]
        x1, y1, x2, y2 = source
        patch = image[y1:y2, x1:x2]
        mask = _mask(image, source, settings)
        if rng.random() < 0.5:
            patch, mask = patch[:, ::-1], mask[:, ::-1]
        (top, left, _, _), differences = _unlikeness(image, source, taken)
        is_like = np.zeros(size, bool)  # by the corner of a box
        rows, columns = differences.shape
        ahead = y1 - top, x1 - left
        is_like[ahead[0] : ahead[0] + rows, ahead[1] : ahead[1] + columns] = (
            differences <= settings.max_difference
        )
        place = free_place(taken, (y2 - y1, x2 - x1), is_like, rng)
        taken = np.vstack([taken, place])
        _blend(edited, patch, mask, place)
    return edited


def free_place(
    taken: np.ndarray, shape: tuple[int, int], is_like: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A box of a shape, at random in the central square of an image, that meets none of `taken`.

    shape: height and width of the box. is_like: bool of the image's size, whether the ground suits
    a box whose corner is there. Refused: `no_place`.
    """
    size, (height, width) = is_like.shape, shape
    side = min(size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    if height > side - 2 or width > side - 2:
        raise Refused("no_place")
    x = rng.integers(left + 1, left + side - width, PLACES)
    y = rng.integers(top + 1, top + side - height, PLACES)
    places = np.stack([x, y, x + width, y + height], axis=1)
    is_free = is_like[y, x] & ~shared_areas(places, taken).any(axis=1)
    if not is_free.any():
        raise Refused("no_place")
    return places[is_free.argmax()]


def _mask(image: np.ndarray, box: np.ndarray, settings: EditSettings) -> np.ndarray:
    """How much of each pixel of a grown box is copied: float32 (height, width), 0 to 1."""
    x1, y1, x2, y2 = box
    height, width = y2 - y1, x2 - x1
    if settings.copied == "object":
        hard = _grabcut(image, box)
        if hard.mean() < LEAST_MASK:
            raise Refused("no_mask")
        hard = cv2.dilate(hard, np.ones((3, 3), np.uint8))
    else:
        hard = np.zeros((height, width), np.uint8)
        hard[1:-1, 1:-1] = 1
    blur = 1 + 2 * max(1, round(settings.margin * max(height, width) / 4))
    return cv2.GaussianBlur(hard.astype(np.float32), (blur, blur), 0)


def _grabcut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The object in a grown box, by GrabCut: uint8 (height, width), 1 in the object."""
    x1, y1, x2, y2 = box
    ring = max(4, (x2 - x1) // 4, (y2 - y1) // 4)
    top, left = max(0, y1 - ring), max(0, x1 - ring)
    part = np.ascontiguousarray(image[top : y2 + ring, left : x2 + ring])
    found = np.zeros(part.shape[:2], np.uint8)
    cv2.setRNGSeed(0)  # of this thread, or the thread's earlier images would decide
    try:
        cv2.grabCut(
            part,
            found,
            (int(x1 - left), int(y1 - top), int(x2 - x1), int(y2 - y1)),
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            GRABCUT_ROUNDS,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error as error:  # no pixel for one of its two models
        raise Refused("no_mask") from error
    inside = found[y1 - top : y2 - top, x1 - left : x2 - left]
    return np.isin(inside, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _blend(image: np.ndarray, patch: np.ndarray, mask: np.ndarray, place: np.ndarray) -> None:
    """Put a patch into an image, in place."""
    x1, y1, x2, y2 = place
    share = mask[..., None]
    mixed = share * patch + (1 - share) * image[y1:y2, x1:x2]
    image[y1:y2, x1:x2] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


# ---- fewer, by another frame ----


def crop(
    boxes: np.ndarray,
    number: int,
    size: tuple[int, int],
    rng: np.random.Generator,
    settings: EditSettings,
) -> tuple[int, int, int, int]:
    """A square window that holds exactly `number` whole boxes, with margins, and cuts no other.

    Of those tried it is the largest, since it changes the objects' size least. size: height and
    width of the image. Refused: `no_window`.
    """
    short = min(size)
    sides = rng.integers(max(1, round(settings.crop_min * short)), short + 1, WINDOWS)
    x = np.floor(rng.random(WINDOWS) * (size[1] - sides + 1)).astype(int)
    y = np.floor(rng.random(WINDOWS) * (size[0] - sides + 1)).astype(int)
    windows = np.stack([x, y, x + sides, y + sides], axis=1)
    whole = grown(boxes, settings.margin, size)
    inside = shared_areas(windows, whole) >= areas(whole)
    is_cut = (shared_areas(windows, np.asarray(boxes, float)) > 0) & ~inside
    fits = (inside.sum(axis=1) == number) & ~is_cut.any(axis=1)
    if not fits.any():
        raise Refused("no_window")
    best = max(np.flatnonzero(fits), key=lambda row: sides[row])
    return tuple(int(value) for value in windows[best])
