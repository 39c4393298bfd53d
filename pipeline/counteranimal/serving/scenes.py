"""The scene photos that composites stand on, each looked at and labelled with the project's background vocabulary.

Decides which frames of which photos are used and what they show. Several frames of one photo never overlap; they are still one
scene, so an interval over frames does not cover the choice of scenes. Left out after a look: photos that show animals
(jellyfish, sheep in the lower part, a ladybird, a spider's web), blossoms and leaves too close to be a place (FreshFlower, YellowFlower,
Garden, TwoWings, Blinds), a single drop (Aqua), machines and buildings (wool_mill_machine, lighthouse), painted planks (Wood),
and photos on which two backgrounds compete (corn_maze, mossy_log, trees_above, the road below Storm).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCENES", "Scene"]

_TUXPAINT = ("tuxpaint-data", "usr/share/tuxpaint/templates", "templates")
_MATE = ("mate-backgrounds", "usr/share/backgrounds/mate/nature", "nature")


@dataclass(frozen=True, slots=True)
class Scene:
    """One frame of a scene photo.

    `box` is (left, top, right, bottom) in fractions of the photo; `photo` names the scene that frames share; `source_path` is
    the file's path in its source package, by which the copyright file speaks of it.
    """

    name: str
    background: str
    package: str
    path: str
    source_path: str
    photo: str
    box: tuple[float, float, float, float]


def _frame(
    name: str,
    background: str,
    origin: tuple[str, str, str],
    photo: str,
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Scene:
    package, folder, source_folder = origin
    file = f"{photo}.jpg"
    return Scene(name, background, package, f"{folder}/{file}", f"{source_folder}/{file}", photo, box)


_LEFT = (0.0, 0.0, 0.5, 1.0)
_RIGHT = (0.5, 0.0, 1.0, 1.0)

# Ordered so that any first eight cover four backgrounds twice: that is what the quick sample takes.
SCENES: tuple[Scene, ...] = (
    _frame("green-meadow-left", "grass", _MATE, "GreenMeadow", _LEFT),
    _frame("sun-behind-clouds", "sky", _TUXPAINT, "sun_behind_clouds"),
    _frame("ocean-waves-left", "water", _TUXPAINT, "ocean_waves", _LEFT),
    _frame("mudstone", "rock", _TUXPAINT, "mudstone"),
    _frame("rain-drops", "grass", _MATE, "RainDrops"),
    _frame("sheep-sky-left", "sky", _TUXPAINT, "sheep", (0.0, 0.0, 0.5, 0.42)),
    _frame("ocean-splash", "water", _TUXPAINT, "ocean_splash"),
    _frame("pebbles-left", "rock", _TUXPAINT, "rocks", _LEFT),
    _frame("redwoods-above", "tree", _TUXPAINT, "redwoods_above"),
    _frame("dune-grass", "grass", _MATE, "Dune", (0.0, 0.3, 1.0, 1.0)),
    _frame("storm-clouds", "sky", _MATE, "Storm", (0.0, 0.0, 1.0, 0.6)),
    _frame("ocean-waves-right", "water", _TUXPAINT, "ocean_waves", _RIGHT),
    _frame("cliff", "rock", _TUXPAINT, "cliff", (0.0, 0.2, 1.0, 1.0)),
    _frame("sun-behind-leaves", "tree", _TUXPAINT, "sun_behind_leaves"),
    _frame("green-meadow-right", "grass", _MATE, "GreenMeadow", _RIGHT),
    _frame("sheep-sky-right", "sky", _TUXPAINT, "sheep", (0.5, 0.0, 1.0, 0.42)),
    _frame("pebbles-right", "rock", _TUXPAINT, "rocks", _RIGHT),
    _frame("trees-at-dusk", "tree", _TUXPAINT, "trees_at_dusk"),
    # The photo has black bars above and below.
    _frame("mossy-bark", "tree", _TUXPAINT, "mossy_bark", (0.0, 0.08, 1.0, 0.92)),
)
