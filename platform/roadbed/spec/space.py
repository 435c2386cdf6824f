"""What a search space comes to: the order in which paths are drawn, its conditions, and its points.

With conditions a space is a tree: a path that is not drawn is not part of a point. Pure functions over dimensions by
path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from roadbed.spec.base import nearest_key
from roadbed.spec.dimension import Dimension

Space = Mapping[str, Dimension]
COUNTED_POINTS = 10_000


def check_conditions(space: Space) -> None:
    """Raise ValueError where a condition names what is not searched, never comes, or waits for itself."""
    for path, dimension in space.items():
        for other, values in dimension.when.items():
            where = f"tune.space.{path}: when names {other}"
            if other not in space:
                near = nearest_key(other, list(space))
                hint = f"did you mean {near}?" if near else f"those are {', '.join(space)}"
                raise ValueError(f"{where}, which is no path of tune.space; {hint}")
            if space[other].form != "choice":
                raise ValueError(f"{where}, which is drawn by {space[other].form}; conditions need a choice")
            for value in values:
                if value not in space[other].arguments:
                    takes = ", ".join(str(choice) for choice in space[other].arguments)
                    raise ValueError(f"{where} {value}, a value that it never takes; it takes {takes}")
    draw_order(space)


def draw_order(space: Space, first: str | None = None) -> list[str]:
    """The paths as they are written, but each after those that its conditions name; `first` as early as may be.

    Raises ValueError where conditions go in a circle.
    """
    order: list[str] = []
    for path in (*([first] if first else []), *space):
        _visit(path, space, order, ())
    return order


def _visit(path: str, space: Space, order: list[str], trail: tuple[str, ...]) -> None:
    if path in trail:
        circle = " when ".join((*trail[trail.index(path) :], path))
        raise ValueError(f"tune.space: conditions in a circle: {circle}; let one of them be drawn always")
    if path not in order:
        for other in space[path].when:
            _visit(other, space, order, (*trail, path))
        order.append(path)


def points(
    space: Space, candidates: Callable[[str, Dimension], Sequence[Any]], *, having: str | None = None
) -> Iterator[dict[str, Any]]:
    """Every point of the tree once, of the values that `candidates` gives for each path that is drawn there.

    The last path changes fastest. Only points that draw the path `having`, if one is named.
    """
    order = draw_order(space, having)

    def extend(drawn: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
        if depth == len(order):
            yield drawn
            return
        path = order[depth]
        if space[path].is_drawn(drawn):
            for value in candidates(path, space[path]):
                yield from extend(drawn | {path: value}, depth + 1)
        elif path != having:
            yield from extend(drawn, depth + 1)

    return extend({}, 0)


def grid_points(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space without continuous paths, once."""
    return points(space, lambda _, dimension: dimension.values())


def num_points(space: Space) -> int | None:
    """How many points there are, counted up to `COUNTED_POINTS`; None if that is not enough or a path is continuous."""
    if any(dimension.is_continuous for dimension in space.values()):
        return None
    counted = sum(1 for _ in islice(grid_points(space), COUNTED_POINTS + 1))
    return None if counted > COUNTED_POINTS else counted
