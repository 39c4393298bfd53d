"""Which ImageNet classes tell of which background: the bridge from a classifier to the vocabulary.

Decides, by meaning alone, what seeing a class at the border of a photo says: a lakeside says water, a sofa says indoor, a
screw says that the object was shot on a plain ground. Animals (0-397) are left out, so that no background is read off the
animal itself. A class that tells of several backgrounds counts for each in equal parts; most classes of food and some objects
tell of none. No class stands here, or is missing, for the sake of a figure: what was tuned is the calibration alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import UsageError

__all__ = ["SCENE_CLASSES", "scene_weights"]

# fmt: off
SCENE_CLASSES: dict[str, tuple[int, ...]] = {
    # lawns, meadows, fields, and what is used on them: hay, mowers, golf, ball games, farm buildings
    "grass": (
        410, 425, 428, 429, 522, 560, 574, 575, 595, 621, 645, 649, 672, 703, 716, 730, 752, 768, 805, 835, 852, 853, 856,
        866, 890, 912, 915, 958, 979, 981, 984, 985,
    ),
    # greenhouse, hedge maze, plant pot, berries and hips
    "shrub": (580, 646, 738, 949, 986, 989),
    # what hangs or stands in trees: bird houses, apiaries' swings, webs, fruit, nuts
    "tree": (448, 456, 815, 843, 863, 948, 950, 951, 952, 954, 955, 956, 957, 988, 990),
    # forest-floor fungi, vegetables in soil, carts, fences, earthworks
    "ground": (
        408, 489, 491, 586, 596, 603, 634, 690, 739, 792, 847, 936, 937, 947, 991, 992, 993, 994, 995, 996, 997,
    ),
    # beaches and sandbars, and what is worn there
    "sand": (775, 808, 838, 977, 978),
    # mountains, sledges, skis, snow vehicles
    "snow": (450, 537, 795, 796, 802, 803, 970),
    # cliffs, promontories, volcanoes, stone buildings and walls
    "rock": (500, 649, 682, 825, 832, 972, 976, 980),
    # vehicles of the street, street furniture, paved places
    "road": (
        407, 412, 436, 444, 468, 475, 479, 511, 518, 535, 539, 555, 569, 571, 581, 609, 612, 627, 637, 640, 654, 656, 661,
        665, 670, 671, 675, 704, 705, 706, 717, 734, 751, 757, 779, 817, 829, 864, 867, 870, 874, 877, 880, 919, 920,
    ),
    # boats, shores, docks, dams, reefs, divers, swimwear
    "water": (
        403, 433, 445, 449, 460, 472, 484, 510, 525, 536, 554, 562, 576, 625, 628, 639, 693, 694, 718, 724, 758, 780, 801,
        814, 833, 842, 871, 876, 913, 914, 973, 974, 975, 977, 978, 983,
    ),
    # aircraft, balloons, towers and poles seen from below
    "sky": (404, 405, 417, 437, 442, 557, 657, 701, 733, 744, 812, 839, 895, 900, 908, 971),
    # clothes and what is worn on the body
    "human": (
        399, 400, 411, 419, 443, 445, 451, 452, 457, 459, 465, 474, 501, 529, 531, 552, 568, 578, 591, 601, 608, 610, 614,
        617, 630, 638, 652, 655, 658, 678, 679, 680, 689, 697, 735, 770, 774, 806, 824, 834, 841, 869, 903, 906, 982,
    ),
    # furniture, household machines, bedding, shops
    "indoor": (
        414, 415, 416, 422, 423, 424, 431, 434, 435, 453, 454, 462, 467, 478, 480, 482, 485, 487, 492, 493, 495, 496, 498,
        508, 509, 516, 520, 521, 526, 527, 529, 532, 533, 534, 539, 543, 545, 546, 548, 549, 550, 553, 556, 559, 564, 579,
        582, 588, 590, 592, 598, 605, 606, 611, 619, 620, 624, 632, 636, 648, 651, 662, 664, 669, 673, 681, 697, 700, 713,
        721, 728, 729, 731, 736, 741, 742, 743, 745, 747, 748, 750, 753, 754, 760, 761, 762, 765, 771, 782, 786, 788, 789,
        790, 794, 797, 799, 804, 810, 811, 819, 827, 831, 840, 846, 848, 850, 851, 854, 857, 859, 860, 861, 865, 876, 878,
        881, 882, 886, 892, 894, 896, 897, 904, 905, 999,
    ),
    # small things that are photographed on a bare ground: tools, fasteners, instruments, cosmetics, print
    "plain": (
        398, 418, 419, 446, 457, 464, 473, 481, 507, 512, 528, 531, 551, 563, 570, 584, 585, 591, 593, 600, 616, 622, 623,
        626, 629, 631, 633, 635, 643, 647, 677, 684, 692, 695, 696, 708, 709, 710, 714, 719, 720, 732, 748, 749, 759, 767,
        769, 772, 773, 777, 778, 783, 784, 798, 813, 818, 826, 828, 836, 837, 838, 844, 845, 855, 872, 885, 892, 893, 898,
        902, 916, 917, 918, 921, 922,
    ),
}
# fmt: on


def scene_weights(vocabulary: Sequence[str]) -> NDArray[np.float64]:
    """Return what each ImageNet class says about each background, shape (1000, len(vocabulary)); rows sum to 1 or 0.

    Raises
    ------
    UsageError
        If a background has no classes here.
    """
    unknown = [name for name in vocabulary if name not in SCENE_CLASSES]
    if unknown:
        raise UsageError(
            f"a classifier cannot score background {unknown[0]!r}; use an image-text model, or leave it out of the recipe"
        )
    weights = np.zeros((1000, len(vocabulary)))
    for column, name in enumerate(vocabulary):
        weights[list(SCENE_CLASSES[name]), column] = 1.0
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1.0))
