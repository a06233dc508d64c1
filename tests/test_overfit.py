"""The fine-tuning benchmarks: a mask learned from one made-up pair, and the parts that a step is timed in."""

import json

import finetune_speed
import overfit_pairs
import pytest
import torch
from toy_training import ToyMask

from depthbokeh import BokehRenderer


@pytest.fixture
def item():
    """A sharp square before a noisy ground that the photograph shows blurred."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, 1, 48, 64)
    mask[..., 12:36, 20:44] = 1
    photo = torch.rand(1, 3, 48, 64, generator=generator)
    disparity = 0.1 + 0.8 * mask
    bokeh = BokehRenderer()(photo, disparity, mask, strength=4.0).clamp(0, 1)
    return {"photo": photo, "bokeh": bokeh, "disparity": disparity, "mask": mask, "longer_side": torch.tensor([64.0])}


def test_box_bounds_the_mask_and_stays_within_the_frame():
    mask = torch.zeros(1, 1, 20, 30)
    mask[..., 0:10, 10:20] = torch.eye(10)
    box = overfit_pairs.draw_box(mask, enlarged=0.2)
    assert box.sum() == 12 * 14
    assert box[..., :12, 8:22].all()
    with pytest.raises(ValueError, match="mask is empty"):
        overfit_pairs.draw_box(torch.zeros(1, 1, 4, 4))


def test_guided_filter_keeps_constants_and_follows_edges():
    photo = torch.zeros(1, 3, 16, 16)
    photo[..., 8:] = 1
    assert torch.allclose(overfit_pairs.filter_guided(torch.full((1, 1, 16, 16), 0.3), photo, 2), torch.tensor(0.3))
    soft = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    step = overfit_pairs.filter_guided(soft, photo, 4)[0, 0, 8, 7:9].diff()
    assert step > 3 * soft[0, 0, 8, 7:9].diff()


def test_mask_of_a_pair_is_learned_from_its_photograph(item):
    box = overfit_pairs.draw_box(item["mask"], enlarged=0.25)
    model = overfit_pairs.make_model(overfit_pairs.FreeMask(box), learned=True, strength=0.05)
    rows, picture, mask = overfit_pairs.fit(model, item, steps=40, every=40)
    assert [row["step"] for row in rows] == [0, 40]
    assert rows[0]["iou"] < 0.5
    assert rows[1]["iou"] > rows[0]["iou"] + 0.2
    assert rows[1]["loss"] < rows[0]["loss"]
    assert picture.shape == item["photo"].shape
    assert (mask[box == 0] == 0).all()


def test_curves_of_a_pair_become_a_table_and_a_figure(item, tmp_path, monkeypatch):
    monkeypatch.setattr(overfit_pairs, "LENS_STEPS", 10)
    item = {**item, "longer_side": torch.tensor([200.0])}  # radii that have a gradient
    curves, pictures = overfit_pairs.run_pair(item, steps=2, every=25)
    assert set(pictures) == set(overfit_pairs.MODES)
    assert curves["given"][-1]["iou"] == 1
    fitted, first = curves["given"][-1], curves["given"][0]
    assert fitted["gain_fitted_psnr"] > first["gain_fitted_psnr"]
    table = overfit_pairs.make_table({"7": curves})
    assert f"{curves['mask'][-1]['iou']:.3f}" in table.splitlines()[2]
    overfit_pairs.draw({"7": curves}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_parts_of_a_step_add_up_and_the_mask_learns():
    torch.manual_seed(0)
    model = ToyMask(dropout=0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    step = finetune_speed.Step(model, (64, 96))
    rows = [step.take(), step.take()]
    assert all(set(row) == set(finetune_speed.PARTS) and min(row.values()) > 0 for row in rows)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_summary_and_report_of_steps(tmp_path):
    row = dict(zip(finetune_speed.PARTS, (1.0, 2.0, 3.0, 3.5, 0.5), strict=True))
    summary = finetune_speed.summarize("xception", [row, row]) | {"peak_mb": 1500.0, "step_mb": 500.0}
    assert summary["step"] == 10
    assert summary["renderer_share"] == 0.5
    finetune_speed.save(tmp_path, (8, 8), [summary], 0.0)
    finetune_speed.save(tmp_path, (8, 8), [{**summary, "model": "deeplab_vgg16"}], 0.0)
    report = json.loads((tmp_path / "finetune_speed.json").read_text())
    assert [row["model"] for row in report["rows"]] == ["deeplab_vgg16", "xception"]
    assert "| `xception` | 10.00 | 0.10 |" in (tmp_path / "finetune_speed.md").read_text()
