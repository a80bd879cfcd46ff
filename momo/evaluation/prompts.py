"""Sentences that a class name is put into for zero-shot classification; several are averaged."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "imagenet": ("a photo of a {}.", "a close photo of a {}.", "a {} in the picture.", "a drawing of a {}."),
    "food101": ("a photo of {}, a dish.", "a plate of {}.", "{} as served in a restaurant."),
    "cifar10": ("a photo of a {}.", "a small, blurred photo of a {}."),
    "cifar100": ("a photo of a {}.", "a small, blurred photo of a {}."),
    "cars": ("a photo of a {}.", "a {} on the road.", "a parked {}, a car."),
    "aircraft": ("a photo of a {}, an aircraft.", "a {} in the air.", "a {} on the ground of an airport."),
    "dtd": ("a photo of a {} texture.", "a {} surface.", "something {}, seen from near."),
    "pets": ("a photo of a {}, a pet.", "a {} at home.", "a photo of the {}."),
    "caltech101": ("a photo of a {}.", "a picture of one {}.", "a drawing of a {}."),
    "flowers102": ("a photo of a {}, a flower.", "a {} in bloom."),
    "mnist": ("a photo of {}.", "{} written by hand."),
    "stl10": ("a photo of a {}.", "a picture of the {}."),
    "eurosat": ("a satellite photo of {}.", "{} seen from above."),
    "gtsrb": ("a traffic sign: {}.", "a photo of the road sign for {}."),
    "sst": ("a {} review of a film.", "an opinion that is {}."),
}
