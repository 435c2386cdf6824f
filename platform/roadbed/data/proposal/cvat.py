"""Files of CVAT: "CVAT for images 1.1", one XML with the shapes upon all frames.

Format: https://docs.cvat.ai/docs/other/xml_format (polygon, box, ellipse, mask with runs of pixels row by row).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from roadbed.data.proposal.polygons import Drawing, Drawings, Shape
from roadbed.errors import DataError

# What an XML file of shapes has no use for, and by which it could swell.
DOCTYPE = b"<!DOCTYPE"


def read_cvat(path: Path) -> Drawings:
    """The drawings of a file. Raises DataError that names the frame and what is wrong."""
    data = path.read_bytes()
    if DOCTYPE in data:
        raise DataError(f"{path}: holds a DOCTYPE, which CVAT does not write; export it again")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML: {error}; export it again") from None
    found = Drawings()
    for label in root.iterfind("meta//labels/label"):
        name, color = label.findtext("name", ""), label.findtext("color", "")
        found.labels.append(name)
        if len(color) == 7 and color.startswith("#"):
            red, green, blue = bytes.fromhex(color[1:])
            found.colors[name] = red, green, blue
    images = root.findall("image")
    if not images:
        raise DataError(f'{path}: no frame in it; export as "CVAT for images 1.1", not "for video"')
    for image in images:
        found.drawings.append(_drawing(image, path, found))
    return found


def _drawing(image: ElementTree.Element, path: Path, found: Drawings) -> Drawing:
    name = image.get("name", "?")
    try:
        shapes = [(int(element.get("z_order", "0")), shape) for element in image if (shape := _shape(element, found))]
        shapes.sort(key=lambda item: item[0])
        size = int(image.attrib["height"]), int(image.attrib["width"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: image {name}: {type(error).__name__} {error}; export it again") from None
    return Drawing(str(PurePosixPath(name).with_suffix("")), *size, tuple(shape for _, shape in shapes))


def _shape(element: ElementTree.Element, found: Drawings) -> Shape | None:
    """A shape with an area; others are counted and left out."""
    reader = READERS.get(element.tag)
    if reader is None:
        found.leave_out(element.tag)
        return None
    return reader(element.attrib)


def _polygon(values: Mapping[str, str]) -> Shape:
    points = tuple((float(x), float(y)) for x, y in (point.split(",") for point in values["points"].split(";")))
    if len(points) < 3:
        raise ValueError(f"a polygon of {values['label']} has {len(points)} points")
    return Shape(values["label"], "polygon", points)


def _box(values: Mapping[str, str]) -> Shape:
    if float(values.get("rotation", "0")):
        raise ValueError(f"a box of {values['label']} is turned; draw it as a polygon")
    corners = (float(values["xtl"]), float(values["ytl"])), (float(values["xbr"]), float(values["ybr"]))
    return Shape(values["label"], "rectangle", corners)


def _ellipse(values: Mapping[str, str]) -> Shape:
    if float(values.get("rotation", "0")):
        raise ValueError(f"an ellipse of {values['label']} is turned; draw it as a polygon")
    x, y, across, down = (float(values[name]) for name in ("cx", "cy", "rx", "ry"))
    return Shape(values["label"], "ellipse", ((x - across, y - down), (x + across, y + down)))


def _mask(values: Mapping[str, str]) -> Shape:
    """Runs of pixels, row by row, the first of them outside the shape."""
    height, width = int(values["height"]), int(values["width"])
    runs = np.array([int(run) for run in values["rle"].split(",")])
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"a mask of {values['label']} has runs of {runs.sum()} pixels for {width}x{height}")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    corner = float(values["left"]), float(values["top"])
    return Shape(values["label"], "bitmap", (corner,), pixels.reshape(height, width))


READERS: Mapping[str, Callable[[Mapping[str, str]], Shape]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
