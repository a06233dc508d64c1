"""Pictures to train on and to test against; nothing below imports it."""

from .coarse import coarsen_disparity
from .scenes import random_scene
from .synthesize import Recipe, write_pairs
from .synthetic import Layer, Scene, SyntheticPair

__all__ = ["Layer", "Recipe", "Scene", "SyntheticPair", "coarsen_disparity", "random_scene", "write_pairs"]
