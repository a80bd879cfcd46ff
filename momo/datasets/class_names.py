"""Names of classes that torchvision does not know, or not in words that a caption would use."""

from __future__ import annotations

from collections.abc import Sequence

CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "mnist": tuple(f"the number {digit}" for digit in range(10)),
    "cifar10": ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "eurosat": (
        "fields of annual crops",
        "forest",
        "grassland with bushes and herbs",
        "a highway",
        "industrial buildings",
        "pasture",
        "fields of permanent crops",
        "houses of a residential area",
        "a river",
        "a sea or a lake",
    ),
    "gtsrb": (
        *(f"speed limit of {speed} km/h" for speed in (20, 30, 50, 60, 70, 80)),
        "end of the speed limit of 80 km/h",
        "speed limit of 100 km/h",
        "speed limit of 120 km/h",
        "no overtaking",
        "no overtaking for trucks",
        "right of way at the next crossing",
        "priority road",
        "give way",
        "stop",
        "no vehicles",
        "no trucks",
        "no entry",
        "danger",
        "dangerous curve to the left",
        "dangerous curve to the right",
        "double curve",
        "bumpy road",
        "slippery road",
        "road narrows on the right",
        "road works",
        "traffic lights ahead",
        "pedestrians",
        "children crossing",
        "bicycles crossing",
        "ice or snow",
        "wild animals crossing",
        "end of all limits",
        "turn right ahead",
        "turn left ahead",
        "straight ahead only",
        "straight ahead or right",
        "straight ahead or left",
        "keep right",
        "keep left",
        "roundabout",
        "end of no overtaking",
        "end of no overtaking for trucks",
    ),
    "sst": ("negative", "positive"),
}

# Where torchvision reads names from folders or lists, those that a caption would put otherwise.
RENAMED: dict[str, dict[str, str]] = {
    "caltech101": {
        "Faces": "person's face",
        "Faces_easy": "face seen from near",
        "Leopards": "leopard",
        "Motorbikes": "motorbike",
        "airplanes": "airplane",
        "binocular": "pair of binoculars",
        "car_side": "car seen from the side",
        "cougar_body": "cougar",
        "cougar_face": "face of a cougar",
        "crocodile_head": "head of a crocodile",
        "flamingo_head": "head of a flamingo",
        "garfield": "toy of Garfield, the cat",
        "sea_horse": "seahorse",
        "snoopy": "toy of Snoopy, the dog",
        "water_lilly": "water lily",
        "yin_yang": "symbol of yin and yang",
    },
    "flowers102": {
        "barbeton daisy": "barberton daisy",
        "bromelia": "bromeliad",
        "colt's foot": "coltsfoot",
        "desert-rose": "desert rose",
        "pink-yellow dahlia?": "pink and yellow dahlia",
    },
}


def readable(name: str, classes: Sequence[str]) -> tuple[str, ...]:
    """torchvision's names of a set's classes in words."""
    renamed = RENAMED.get(name, {})
    return tuple(renamed.get(each, each.replace("_", " ")) for each in classes)
