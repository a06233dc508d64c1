"""The gallery's sheets and its page."""

from __future__ import annotations

import re
from pathlib import Path

import gallery
import pytest
import torch
from gallery_scenes import behind_grass
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"


def test_sheet_has_every_tile_below_its_label():
    tiles = {
        "red": torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 30, 40),
        "map": torch.ones(1, 1, 30, 40),
    }
    tiles["beyond white"] = torch.full((1, 3, 30, 40), 7.0)
    sheet = gallery.lay_out(tiles, columns=2)
    assert sheet.size == (84, 104)
    assert sheet.getpixel((20, 45)) == (255, 0, 0)
    assert sheet.getpixel((64, 45)) == (255, 255, 255)
    assert sheet.getpixel((20, 97)) == (255, 255, 255)


def test_labels_tell_psnr():
    truth = torch.full((1, 3, 8, 8), 0.5)
    assert list(gallery.label_psnr({"mine": truth + 0.1}, truth)) == ["mine: 20.00 dB"]


def test_sheet_is_written_small_or_not_at_all(tmp_path):
    noise = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    gallery.write_sheet(tmp_path / "small.jpg", gallery.lay_out({"noise": noise}, 1))
    assert 50_000 < (tmp_path / "small.jpg").stat().st_size < 250_000
    with pytest.raises(ValueError, match="larger than 250000 bytes"):
        gallery.write_sheet(tmp_path / "large.jpg", gallery.lay_out({"noise": noise.repeat(1, 1, 3, 3)}, 1))
    assert not (tmp_path / "large.jpg").exists()


def test_scene_is_the_same_every_time():
    first, again = (behind_grass((48, 64), radius=2.0).render(samples=1) for _ in range(2))
    assert torch.equal(first.all_in_focus, again.all_in_focus)
    assert torch.equal(first.disparity, again.disparity)


def test_page_shows_all_pictures_and_none_is_large():
    shown = re.findall(r"\(images/gallery/(\w+\.jpg)\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    pictures = sorted((DOCS / "images" / "gallery").iterdir())
    assert sorted(set(shown)) == [path.name for path in pictures]
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes) < 250_000
    assert sum(sizes) < 4_000_000
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.width > 600
