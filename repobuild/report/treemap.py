"""Squarified treemaps (Bruls, Huizing, van Wijk 2000): areas in proportion, near to squares."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; all lengths in one unit of the caller's."""

    left: float
    top: float
    width: float
    height: float

    @property
    def short_side(self) -> float:
        """The length of the shorter side."""
        return min(self.width, self.height)


def squarify(values: Sequence[float], box: Box) -> list[Box]:
    """Divide a rectangle among values above zero, given largest first; return a rectangle for each, in their order."""
    total = sum(values)
    if not values or total <= 0 or box.short_side <= 0:
        return [Box(box.left, box.top, 0, 0) for _ in values]
    areas = [value * box.width * box.height / total for value in values]
    found: list[Box] = []
    row: list[float] = []
    for area in areas:
        if row and _worst([*row, area], box.short_side) > _worst(row, box.short_side):
            placed, box = _place(row, box)
            found += placed
            row = []
        row.append(area)
    return [*found, *_place(row, box)[0]]


def _worst(row: Sequence[float], side: float) -> float:
    """Return the largest ratio of sides in a row of areas along a side."""
    total = sum(row)
    if side <= 0 or total <= 0:
        return float("inf")
    depth = total / side
    return max(max(depth * depth / area, area / (depth * depth)) if area > 0 else float("inf") for area in row)


def _place(row: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Put a row along the shorter side; return its boxes and what is left."""
    total = sum(row)
    side = box.short_side
    depth = total / side if side > 0 else 0.0
    boxes, offset = [], 0.0
    for area in row:
        length = area / depth if depth > 0 else 0.0
        if box.width >= box.height:
            boxes.append(Box(box.left, box.top + offset, depth, length))
        else:
            boxes.append(Box(box.left + offset, box.top, length, depth))
        offset += length
    if box.width >= box.height:
        return boxes, Box(box.left + depth, box.top, max(0.0, box.width - depth), box.height)
    return boxes, Box(box.left, box.top + depth, box.width, max(0.0, box.height - depth))
