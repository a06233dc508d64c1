"""Tiny pairs of pictures for the tests of the data sets."""

import cv2
import numpy as np
import torch

from depthbokeh.photo import write_photo

HEIGHT, WIDTH = 96, 128


def make_texture(seed, shape=(HEIGHT, WIDTH)):
    """Colours (H, W, 3), 0..1, with detail of all sizes."""
    rng = np.random.default_rng(seed)
    noise = sum(s * cv2.GaussianBlur(rng.standard_normal((*shape, 3)).astype(np.float32), (0, 0), s) for s in (1, 3, 8))
    return (noise - noise.min()) / (noise.max() - noise.min())


def to_tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]


def write_pair(original, bokeh, seed=0, move=(0, 0), shape=(HEIGHT, WIDTH), sigma=4.0):
    """Writes a picture and what remains of it out of focus beside a sharp disk, moved by whole pixels."""
    pad = 16
    wide = make_texture(seed, (shape[0] + 2 * pad, shape[1] + 2 * pad))
    y, x = np.mgrid[: wide.shape[0], : wide.shape[1]]
    disk = ((x - wide.shape[1] / 2) ** 2 + (y - wide.shape[0] / 2) ** 2 < (0.4 * shape[0]) ** 2)[..., None]
    blurred = np.where(disk, wide, cv2.GaussianBlur(wide, (0, 0), sigma))
    frames = [(original, wide, (0, 0)), (bokeh, blurred, move)]
    for path, picture, (right, down) in frames:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = slice(pad + down, pad + down + shape[0]), slice(pad + right, pad + right + shape[1])
        write_photo(path, to_tensor(picture[rows, columns]), quality=95)
