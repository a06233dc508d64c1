"""Pictures to train on and to test against; nothing below imports it."""

from .augment import Augmentation
from .coarse import coarsen_disparity
from .ebb import EBBDataset
from .layouts import find_pairs
from .sample import collate_samples
from .scenes import random_scene
from .synthesize import Recipe, write_pairs
from .synthetic import Layer, Scene, SyntheticPair

__all__ = [
    "Augmentation",
    "EBBDataset",
    "Layer",
    "Recipe",
    "Scene",
    "SyntheticPair",
    "coarsen_disparity",
    "collate_samples",
    "find_pairs",
    "random_scene",
    "write_pairs",
]
