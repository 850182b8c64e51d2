"""What each model is: its class, where it is put, and whether training or test rooms have it.

The classes are the thirteen of NYUv2 in their order, and things are counted among them as they are there: a desk is a table,
a bookcase or a fridge is furniture, a curtain is a window, a door is wall, a rug is floor, a screen is a tv, and lamps, basins
and everything small are objects.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

from sets.rooms_furniture import Entry

CLASSES = (
    "bed",
    "books",
    "ceiling",
    "chair",
    "floor",
    "furniture",
    "objects",
    "picture",
    "sofa",
    "table",
    "tv",
    "wall",
    "window",
)
IGNORED = -1

# By name: the first expression found in it decides the kind, which is class and place.
# Places: floor (stands in the room), side (stands with its back to a wall), top (stands on other things), wall (hangs on one),
# door (is in a wall and reaches the floor), ceiling (hangs from it), rug (lies on the floor).
_NAMES = (
    (r"french window|sliding window", "window door"),
    (r"window|^curtain", "window wall"),
    (r"bedside table|changing table|dressing table|tv stand|television cabinet", "furniture side"),
    (r"table tennis$|football table|pool table", "objects floor"),
    (r"hanging light|pendant lamp|chandelier|ceiling|fluorescent|track lights", "objects ceiling"),
    (r"wall (light|lamp|spotlight)|cuckoo clock|dart game", "objects wall"),
    (r"radiator|fireplace|toilets|washbasin|lavatory|bidet|upright piano|^bath$|bathtub|island bath", "objects side"),
    (r"wall flat tv", "tv wall"),
    (r"^tv( 16:9)?$|imac", "tv top"),
    (r"sofa|couch", "sofa side"),
    (r"\bbed\b|crib|^futon$|air mattress", "bed side"),
    (r"chair|stool|bench|puff|class seat", "chair floor"),
    (r"^desk( table)?$|wooden desk", "table side"),
    (r"\btable$|wooden (alder|teak) table|table on trestles|table with tablecloth", "table floor"),
    (r"^book$|newspaper", "books top"),
    (r"upper (corner |shelves )?cabinet|small upper cabinet|glass door cabinet", "furniture wall"),
    (r"bookcase|shelves|wardrobe|cupboard|dresser|^chest$|cabinet|^box$", "furniture side"),
    (r"fridge|refrigerator|oven|washing|dryer|freezer|sink|^island|vanity|stove", "furniture side"),
    (r"^frame", "picture top"),
    (r"\bdoor\b", "wall door"),
    (r"\brug|carpet|tatami|bathmat|doormat", "floor rug"),
    (
        r"grand piano|white board|clothes (rack|horse|basket)|water cooler|indoor bike|treadmill|guitar|punching",
        "objects floor",
    ),
    (r"barrel|crate|dustbin|extinguisher|^cone|cardboard box|logs|recycling|trash can|suitcase|ladder|^lamp$", "objects floor"),
)
# What a look at the models has corrected, or left out, where the name says too little.
_CORRECTED = {
    "blendswap-cc-0/ammoBox": "objects floor",  # a crate
    "blendswap-cc-0/box": "objects floor",  # a plastic box
    "blendswap-cc-0/cissors_swap": "objects top",
    "blendswap-cc-0/lamp2": "objects ceiling",
    "blendswap-cc-0/rangeHood": None,
    "blendswap-cc-0/showerDoor": None,
    "blendswap-cc-0/stove": None,  # a cooktop without a stove
    "blendswap-cc-0/mano_cooktop": None,  # likewise
    "blendswap-cc-0/knifeStandSwap": None,  # hangs on a wall
    "blendswap-cc-by/abdominalBench": "objects floor",
    "blendswap-cc-by/kitchenTools": None,  # hang on a wall
    "blendswap-cc-by/lamp": "objects top",
    "blendswap-cc-by/suit": None,
    "blendswap-cc-by/towel": None,
    "blendswap-cc-by/wheelchair": "objects floor",
    "blendswap-cc-by/wire-coathanger": None,
    "blendswap-cc-by/workbench": "objects side",
    "katorlegaz/clothes-hanger": None,
    "katorlegaz/custom-desk": None,  # more shelves than desk
    "katorlegaz/full-bookcase": None,  # its books are part of it
    "katorlegaz/showerCurtain": None,
    "katorlegaz/window-shutter": None,
    "scopia/CCTV": None,
    "scopia/convertible-sofa-BZ-opened": "bed side",
    "scopia/elevator": None,
    "scopia/elevator-door": None,
    "scopia/garage-door": None,
    "scopia/garage-door2": None,
    "scopia/glassDoor2": None,  # all black
    "scopia/induction-cooker-2-zones": None,
    "scopia/induction-cooker-4-zones": None,
    "scopia/kitchenHood": None,
    "scopia/living_room_lamp1": "objects top",
    "scopia/small-oven": "objects top",
    "scopia/small-urinal": None,
    "scopia/smoke-detector": None,
    "scopia/table_lamp": "objects top",
}
_MANY = 8  # so few families of a kind are shared out by halves
_OUTDOORS = {"Exterior", "Vehicles", "Characters", "Staircases"}
_TALLEST = 0.6  # metres: what is higher stands on the floor
_SMALLEST, _LARGEST = 0.12, 0.9  # what nothing else is known of is an object if its longest side is between


def kind_of(entry: Entry) -> str | None:
    """Class of a model and the place where it is put, in two words; None if it is of no use in a room."""
    if entry.key in _CORRECTED:
        return _CORRECTED[entry.key]
    if entry.category in _OUTDOORS:
        return None
    for expression, kind in _NAMES:
        if re.search(expression, entry.name.lower()):
            if kind == "objects side" and entry.elevation:
                return "objects wall"
            return kind
    if entry.elevation or not _SMALLEST < max(entry.size) < _LARGEST:
        return None
    return "objects floor" if entry.size[1] > _TALLEST else "objects top"


def in_test(models: Iterable[tuple[Entry, str]]) -> set[str]:
    """Keys of the models that test rooms alone have: three in ten of each kind, half where there are few, by a hash of the key.

    Models of one kind and one size are mostly the same one in two colours: they stay together. Where all are of one size, the
    training rooms have them.
    """
    kinds: dict[str, dict[tuple[int, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for entry, kind in models:
        kinds[kind][tuple(round(50 * length) for length in entry.size)].append(entry.key)
    chosen: set[str] = set()
    for sizes in kinds.values():
        families = sorted(sizes.values(), key=lambda keys: hashlib.sha256(min(keys).encode()).digest())
        count = round(0.3 * len(families)) if len(families) >= _MANY else len(families) // 2
        chosen.update(key for family in families[:count] for key in family)
    return chosen
