"""The animals of the sample upstream: cut-outs for composites, and single photos, with their class and taxon.

Decides which class a file shows, by its name and a look at it, and the true background of every single photo. Leaves ImageNet
indices to the recipe. A single photo whose ImageNet class is not clear has no class: the upstream serves it under its taxon,
which the demo's recipe does not ask for. Left out is the ewe of `sheep.webp`: it would arrive as a ram, being of one species.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CUT_OUTS", "SINGLES", "CutOut", "Single", "TaxonName"]


@dataclass(frozen=True, slots=True)
class TaxonName:
    """A species by its scientific and its English name."""

    name: str
    common: str


@dataclass(frozen=True, slots=True)
class CutOut:
    """An animal with transparency around it; `stamp` is its file below the stamps' animals folder, without `.png`."""

    stamp: str
    class_id: str
    taxon: TaxonName

    @property
    def name(self) -> str:
        """Return the cut-out's short name, such as `lion-2`."""
        return self.stamp.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Single:
    """A whole photo inside GCompris; `class_id` is empty where no ImageNet class is clear."""

    name: str
    archive: str
    class_id: str
    background: str
    taxon: TaxonName


def _cut(stamp: str, class_id: str, name: str, common: str) -> CutOut:
    return CutOut(stamp, class_id, TaxonName(name, common))


# Hen and rooster are one class: one species, and a crawl by taxon cannot tell them apart.
# The quick sample takes the first eight.
CUT_OUTS: tuple[CutOut, ...] = (
    _cut("birds/ostrich", "ostrich", "Struthio camelus", "Common Ostrich"),
    _cut("mammals/bovines/ram", "ram", "Ovis aries", "Domestic Sheep"),
    _cut("birds/vulture", "vulture", "Gyps fulvus", "Griffon Vulture"),
    _cut("mammals/hippopotamus", "hippopotamus", "Hippopotamus amphibius", "Common Hippopotamus"),
    _cut("mammals/aquatic/otter", "otter", "Lutra lutra", "Eurasian Otter"),
    _cut("mammals/cats/lion-2", "lion", "Panthera leo", "Lion"),
    _cut("mammals/camel/dromedary", "dromedary", "Camelus dromedarius", "Dromedary Camel"),
    _cut("birds/magellanic_penguin", "penguin", "Spheniscus magellanicus", "Magellanic Penguin"),
    _cut("birds/pink_flamingo", "flamingo", "Phoenicopterus chilensis", "Chilean Flamingo"),
    _cut("birds/peacock", "peacock", "Pavo cristatus", "Indian Peafowl"),
    _cut("birds/pelican", "pelican", "Pelecanus erythrorhynchos", "American White Pelican"),
    _cut("birds/hen", "chicken", "Gallus gallus", "Red Junglefowl"),
    _cut("birds/rooster", "chicken", "Gallus gallus", "Red Junglefowl"),
    _cut("mammals/cats/tiger", "tiger", "Panthera tigris", "Tiger"),
    _cut("mammals/equines/zebra", "zebra", "Equus quagga", "Plains Zebra"),
    _cut("mammals/elephant", "elephant", "Loxodonta africana", "African Bush Elephant"),
    _cut("mammals/bovines/bison", "bison", "Bison bison", "American Bison"),
    _cut("mammals/apes/chimp", "chimpanzee", "Pan troglodytes", "Common Chimpanzee"),
    _cut("mammals/apes/gorilla", "gorilla", "Gorilla gorilla", "Western Gorilla"),
    _cut("fish/lobster", "lobster", "Panulirus penicillatus", "Pronghorn Spiny Lobster"),
    _cut("mammals/badger", "badger", "Meles meles", "Eurasian Badger"),
    _cut("mammals/dogs/fox", "fox", "Vulpes vulpes", "Red Fox"),
    _cut("mammals/aquatic/sea_lion", "sea_lion", "Zalophus californianus", "California Sea Lion"),
)


def _world(name: str, class_id: str, background: str, taxon: str, common: str) -> Single:
    return Single(name, "explore_world_animals", class_id, background, TaxonName(taxon, common))


def _farm(name: str, class_id: str, background: str, taxon: str, common: str) -> Single:
    return Single(name, "explore_farm_animals", class_id, background, TaxonName(taxon, common))


SINGLES: tuple[Single, ...] = (
    _world("bison", "bison", "grass", "Bison bison", "American Bison"),
    _world("dragon", "komodo_dragon", "rock", "Varanus komodoensis", "Komodo Dragon"),
    _world("jaguar", "jaguar", "rock", "Panthera onca", "Jaguar"),
    _world("koala", "koala", "tree", "Phascolarctos cinereus", "Koala"),
    _world("lemur", "lemur", "tree", "Lemur catta", "Ring-tailed Lemur"),
    _world("panda", "panda", "rock", "Ailuropoda melanoleuca", "Giant Panda"),
    _world("polar_bear", "polar_bear", "snow", "Ursus maritimus", "Polar Bear"),
    _world("scarlet_macaw", "macaw", "other", "Ara macao", "Scarlet Macaw"),
    _farm("chicken", "chicken", "grass", "Gallus gallus", "Red Junglefowl"),
    _farm("pig", "hog", "grass", "Sus domesticus", "Domestic Pig"),
    _world("chameleon", "", "tree", "Calotes versicolor", "Oriental Garden Lizard"),
    _world("crocodile", "", "ground", "Crocodylus porosus", "Saltwater Crocodile"),
    _world("giraffe", "", "grass", "Giraffa camelopardalis", "Giraffe"),
    _world("hedgehog", "", "grass", "Erinaceus roumanicus", "Northern White-breasted Hedgehog"),
    _world("kangaroo", "", "ground", "Macropus giganteus", "Eastern Grey Kangaroo"),
    _world("moose", "", "grass", "Alces alces", "Moose"),
    _world("narwhal", "", "water", "Monodon monoceros", "Narwhal"),
    _farm("cat", "", "plain", "Felis catus", "Domestic Cat"),
    _farm("cow", "", "grass", "Bos taurus", "Domestic Cattle"),
    _farm("dog", "", "grass", "Canis familiaris", "Domestic Dog"),
    _farm("duck", "", "ground", "Anas platyrhynchos", "Mallard"),
    _farm("horse", "", "grass", "Equus caballus", "Domestic Horse"),
    _farm("owl", "", "tree", "Strix aluco", "Tawny Owl"),
)
