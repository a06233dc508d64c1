from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from PIL.TiffImagePlugin import IFDRational

from depthbokeh import optics
from depthbokeh.lens import Lens

INF = math.inf


class TestLens:
    @pytest.mark.parametrize(
        "f_number", [1.8, Fraction(9, 5), (18, 10), [9, 5], IFDRational(18, 10), torch.tensor(1.8)]
    )
    def test_exif_number_types(self, f_number):
        assert Lens.from_exif({33437: f_number}).f_number == pytest.approx(1.8)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            0,
            (18, 0),
            IFDRational(18, 0),
            (1, 2, 3),
            ("a", "b"),
            "f/1.8",
            math.nan,
            INF,
            -2.8,
            1j,
            10**400,
        ],
    )
    def test_garbage_is_none_in_every_tag(self, value):
        tags = [33437, 37382, 37386, 40962, 41486, 41488, 41989]
        assert Lens.from_exif(dict.fromkeys(tags, value)) == Lens()

    def test_underflow_is_none_too(self):
        assert Lens.from_exif({37386: 1e-323, 40962: 1e-300, 41486: 1e300}) == Lens()

    @pytest.mark.parametrize("distance", [0, 4294967295, (2**32 - 1, 1000), 655.35, INF])
    def test_unknown_and_infinite_distances(self, distance):
        assert Lens.from_exif({37382: distance}).focus_distance_m is None
        assert Lens.from_exif({37382: (315, 100)}).focus_distance_m == pytest.approx(3.15)

    def test_sensor_width_from_the_35mm_equivalent_then_the_pixel_pitch(self):
        pitch = {40962: 6000, 41486: (6000, 1), 41488: 2}  # one inch
        assert Lens.from_exif({37386: 4.25, 41989: 26, **pitch}).sensor_width_m == pytest.approx(0.036 * 4.25 / 26)
        assert Lens.from_exif({37386: 4.25, 41989: 0, **pitch}).sensor_width_m == pytest.approx(0.0254)
        assert Lens.from_exif({41989: 26, **pitch}).sensor_width_m == pytest.approx(0.0254)
        # Exif's default unit is the inch.
        assert Lens.from_exif({40962: 6000, 41486: 6000}).sensor_width_m == pytest.approx(0.0254)

    @pytest.mark.parametrize(
        ("unit", "per_unit", "width_m"),
        [(3, 2500, 0.024), (4, 250, 0.024), (5, 0.25, 0.024), (1, 250, None), (9, 250, None)],
    )
    def test_resolution_units(self, unit, per_unit, width_m):
        width = Lens.from_exif({40962: 6000, 41486: per_unit, 41488: unit}).sensor_width_m
        assert width == (None if width_m is None else pytest.approx(width_m))

    def test_merge_keeps_what_is_known(self):
        merged = Lens(f_number=1.8, focus_distance_m=2.0).merge(Lens(0.05, 8.0, 0.036))
        assert merged == Lens(0.05, 1.8, 0.036, 2.0)

    def test_optics_has_it_too(self):
        assert optics.Lens is Lens

    def test_values_must_be_positive(self):
        with pytest.raises(ValueError, match=r"f_number must be above 0 or None, got 0"):
            Lens(f_number=0.0)
