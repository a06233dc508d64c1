"""The aperture shapes: their text form, their geometry, and the tables that the kernels read."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from dense import outline_chord, outline_span, relative_error, row_ends

from depthbokeh import Aperture, gather_blur, scatter_blur
from depthbokeh.aperture import ApertureKind

ELLIPSES = [
    "disk",
    "ring:0.5",
    "ring:0.9",
    "ellipse:0.5",
    "ellipse:2",
    "ellipse:0.6:30",
    "ellipse:3:100",
    "cat_eye:0.4",
    "cat_eye:0.8",
]
TABLES = [
    "polygon:3",
    "polygon:4:45",
    "polygon:6:15",
    "polygon:7:15",
    "polygon:5:10:0.3",
    "polygon:6",
    "polygon:7:-20:0.9",
    "polygon:9:0:1",
    "polygon:8:30",
    "cat_eye:0.4:20",
    "cat_eye:0.7:-60",
]


def spread_point(aperture, radius, n):
    """What becomes of a point of light, (2 n + 1, 2 n + 1)."""
    point = torch.zeros(1, 1, 2 * n + 1, 2 * n + 1, dtype=torch.float64)
    point[..., n, n] = 1
    return scatter_blur(point, torch.full_like(point, radius), aperture, backend="reference")[0, 0]


def read_edges(aperture, y):
    """The left and right edge of a tabulated unit shape at heights y, as the table's documentation says."""
    shear, offset = aperture.rows[0, 2:4].tolist()
    cell, t = find_cells(aperture, y)
    edges = cell[:, 2:4] + 2 * t * cell[:, 4:6]  # of area + t (edge + t bend)
    return edges + (offset + shear * y)[:, None]


def find_cells(aperture, y):
    """The table's row at every height y, and the way from its start."""
    cells = aperture.rows[1:]
    cell = cells[torch.searchsorted(cells[:, 6].contiguous(), y, right=True).clamp(min=1) - 1]
    return cell, (y - cell[:, 6])[:, None]


def outline_points(text):
    """Points of the exact outline of the unit shape, (N, 2)."""
    name, *values = text.split(":")
    if name in ("polygon", "cat_eye"):
        low, high = outline_span(text)
        y = torch.linspace(float(low), float(high), 100_001, dtype=torch.float64)
        return torch.cat([torch.stack([edge, y], dim=1) for edge in outline_chord(text)(y)])
    angle = torch.linspace(0, 2 * math.pi, 100_001, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    if name == "ellipse":
        ratio, turn = [*(float(value) for value in values), 0.0][:2]
        x, y = (circle * torch.tensor([ratio, 1 / ratio]).sqrt()).unbind(1)
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=1)
    inner = float(values[0]) if name == "ring" else 0
    return circle / math.sqrt(1 - inner**2)


class TestText:
    @pytest.mark.parametrize(
        ("text", "aperture"),
        [
            ("disk", Aperture.disk()),
            ("gaussian", Aperture.gaussian()),
            ("polygon:6", Aperture.polygon(6)),
            ("polygon:7:15", Aperture.polygon(7, rotation_deg=15)),
            ("polygon:7:15:0.3", Aperture.polygon(7, rotation_deg=15, roundness=0.3)),
            ("polygon:7:0:0.3", Aperture.polygon(7, roundness=0.3)),
            ("ring:0.5", Aperture.ring(0.5)),
            ("cat_eye:0.4", Aperture.cat_eye(0.4)),
            ("cat_eye:0.4:-30", Aperture.cat_eye(0.4, rotation_deg=-30)),
            ("ellipse:0.5", Aperture.ellipse(0.5)),
            ("ellipse:0.5:90", Aperture.ellipse(0.5, rotation_deg=90)),
        ],
    )
    def test_round_trip(self, text, aperture):
        parsed = Aperture.parse(text)
        assert parsed.name == aperture.name == text
        assert repr(parsed) == f"Aperture('{text}')"
        assert (parsed.kind, parsed.extent, parsed.reach) == (aperture.kind, aperture.extent, aperture.reach)
        assert torch.equal(parsed.rows, aperture.rows)

    @pytest.mark.parametrize(
        "aperture",
        [
            Aperture.ring(1 / 3),
            Aperture.ring(0.99999999),
            Aperture.cat_eye(0.12345678, 123.456789),
            Aperture.ellipse(math.e, 0.1 + 0.2),
        ],
        ids=["ring", "thin ring", "cat_eye", "ellipse"],
    )
    def test_names_keep_all_digits(self, aperture):
        assert torch.equal(Aperture.parse(aperture.name).rows, aperture.rows)

    def test_defaults_are_left_out(self):
        assert Aperture.polygon(5, 0, 0).name == Aperture.parse("polygon:5.0:0:0").name == "polygon:5"

    def test_objects_pass(self):
        aperture = Aperture.ring(0.25)
        assert Aperture.parse(aperture) is aperture

    def test_a_text_is_read_once(self):
        assert Aperture.parse("polygon:8:3") is Aperture.parse("polygon:8:3")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("star", "aperture must be one of disk, gaussian, polygon, .*'star'"),
            ("", "aperture must be one of"),
            ("Disk", "aperture must be one of"),
            ("disk:1", "disk takes 0 values, got 'disk:1'"),
            ("gaussian:2", "gaussian takes 0 values"),
            ("polygon", "polygon takes 1 to 3 values"),
            ("polygon:6:0:0:0", "polygon takes 1 to 3 values"),
            ("ring", "ring takes 1 values"),
            ("ring:0.5:1", "ring takes 1 values"),
            ("cat_eye", "cat_eye takes 1 to 2 values"),
            ("ellipse:1:2:3", "ellipse takes 1 to 2 values"),
            ("polygon:six", "values must be numbers, got 'polygon:six'"),
            ("ring:", "values must be numbers"),
            ("polygon:2", "blades must be .* at least 3, got 2"),
            ("polygon:5.5", "blades must be a whole number .* got 5.5"),
            ("polygon:-6", "blades must be"),
            ("polygon:nan", "blades must be"),
            ("polygon:inf", "blades must be"),
            ("polygon:6:nan", "rotation_deg must be"),
            ("polygon:6:inf", "rotation_deg must be"),
            ("polygon:6:0:1.1", "roundness must be between 0 and 1, got 1.1"),
            ("polygon:6:0:-0.1", "roundness must be"),
            ("polygon:6:0:nan", "roundness must be"),
            ("ring:1", "inner must be at least 0 and below 1, got 1"),
            ("ring:-0.1", "inner must be"),
            ("ring:nan", "inner must be"),
            ("cat_eye:1", "strength must be at least 0 and below 1, got 1"),
            ("cat_eye:-0.1", "strength must be"),
            ("cat_eye:nan", "strength must be"),
            ("cat_eye:0.4:nan", "rotation_deg must be"),
            ("ellipse:0", "ratio must be positive, got 0"),
            ("ellipse:-1", "ratio must be"),
            ("ellipse:inf", "ratio must be"),
            ("ellipse:nan", "ratio must be"),
            ("ellipse:0.5:nan", "rotation_deg must be"),
        ],
    )
    def test_what_does_not_fit(self, text, message):
        with pytest.raises(ValueError, match=message):
            Aperture.parse(text)

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda aperture: pickle.loads(pickle.dumps(aperture))])
    @pytest.mark.parametrize("text", ["disk", "polygon:6", "gaussian"])
    def test_copies(self, clone, text):
        aperture = Aperture.parse(text)
        copied = clone(aperture)
        assert copied is not aperture
        assert (copied.name, copied.kind, copied.extent) == (aperture.name, aperture.kind, aperture.extent)
        assert torch.equal(spread_point(copied, 3.3, 6), spread_point(text, 3.3, 6))


class TestGeometry:
    @pytest.mark.parametrize("text", [*ELLIPSES, *TABLES])
    @pytest.mark.parametrize("radius", [0.4, 1.7, 11.3])
    def test_area_of_the_blur(self, text, radius):
        """As much light, and as bright a plateau as the disk's."""
        aperture = Aperture.parse(text)
        spread = spread_point(aperture, radius, math.ceil(2.5 * 11.3))
        assert float(spread.sum()) == pytest.approx(1, abs=1e-12)
        if radius > 10 and text != "ring:0.9":  # which has room for no whole pixel
            assert float(spread.max()) * math.pi * radius**2 == pytest.approx(1, abs=1e-12)

    @pytest.mark.parametrize("text", ELLIPSES)
    def test_ellipses_have_the_disks_area(self, text):
        sign, height, width, _, cut = Aperture.parse(text).rows[:, :5].T
        left = torch.acos(cut) - cut * (1 - cut**2).sqrt()  # of the half circle, pi / 2
        assert float((sign * height**2 * width * left).sum()) == pytest.approx(math.pi / 2)

    @pytest.mark.parametrize("text", TABLES)
    def test_tables_follow_the_outline(self, text):
        aperture, chord = Aperture.parse(text), outline_chord(text)
        y = torch.linspace(aperture.rows[0, 0] * 0.99, aperture.rows[0, 1] * 0.99, 1001, dtype=torch.float64)
        edges = read_edges(aperture, y)
        for edge, exact in zip(edges.T, chord(y), strict=True):
            assert relative_error(edge, exact) < 2e-3
        area, edge, bend, (_, height) = aperture.rows[-1].view(4, 2)
        sum_of_cells = (area + height * (edge + height * bend)).diff()
        assert float(sum_of_cells) == pytest.approx(math.pi)

    @pytest.mark.parametrize("text", TABLES)
    @pytest.mark.parametrize("radius", [0.7, 2.3, 9.1, 40.0])
    def test_rows_of_tables(self, text, radius):
        """Their mean ends, as the table's documentation says, against the exact outline."""
        aperture = Aperture.parse(text)
        bottom, top, shear, offset = aperture.rows[0, :4].tolist()
        # Only rows that the shape reaches.
        dy = torch.arange(math.ceil(bottom * radius - 0.5), math.floor(top * radius + 0.5) + 1, dtype=torch.float64)

        def area(y):
            cell, t = find_cells(aperture, y.clamp(bottom, top))
            return cell[:, 0:2] + t * (cell[:, 2:4] + t * cell[:, 4:6])

        ends = radius**2 * (area((dy + 0.5) / radius) - area((dy - 0.5) / radius))
        ends = ends + (offset * radius + shear * dy)[:, None]
        for end, exact in zip(ends.T, row_ends(text, torch.tensor([radius]), dy), strict=True):
            assert relative_error(end[1:-1], exact[1:-1]) < 1e-3
            assert relative_error(end, exact) < 1e-2  # the tips are the worst

    @pytest.mark.parametrize("text", [*ELLIPSES, *TABLES])
    def test_extent_and_reach(self, text):
        """Against points close together on the exact outline."""
        aperture, points = Aperture.parse(text), outline_points(text)
        assert aperture.reach == pytest.approx(float(points[:, 1].abs().max()), rel=1e-4)
        assert aperture.extent == pytest.approx(float(points.norm(dim=1).max()), rel=1e-4)
        within = aperture.sample(2000).norm(dim=1).max()
        assert 0.95 * aperture.extent < within <= aperture.extent

    @pytest.mark.parametrize("text", [*ELLIPSES, "gaussian"])
    def test_nothing_lies_beyond_extent_and_reach(self, text):
        aperture = Aperture.parse(text)
        lit = spread_point(aperture, 8.0, 24) > 1e-12
        rows, columns = (index - 24 for index in lit.nonzero(as_tuple=True))
        slack = 1.2 if text == "gaussian" else 1.0  # levels that are wider than the radius
        assert aperture.reach * 8 - 0.5 <= rows.max() <= slack * aperture.reach * 8 + 0.5
        farthest = rows.max() if text == "gaussian" else torch.hypot(rows.double(), columns.double()).max()
        assert aperture.extent * 8 - 1 <= farthest <= slack * aperture.extent * 8 + 1

    @pytest.mark.parametrize("text", [*ELLIPSES, *TABLES, "gaussian"])
    def test_centroid_is_the_point(self, text):
        spread = spread_point(text, 9.3, 25)
        place = torch.arange(-25, 26, dtype=torch.float64)
        # What a row cuts off a vertex counts at the row's middle.
        assert float(spread.sum(1) @ place) == pytest.approx(0, abs=0.02)
        assert float(spread.sum(0) @ place) == pytest.approx(0, abs=0.02)

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("disk", 1 / 2),
            ("gaussian", 1 / 2),
            ("ring:0.5", (1 + 0.5**2) / (1 - 0.5**2) / 2),
            ("ellipse:0.5", (0.5 + 2) / 4),
            ("ellipse:0.6:30", (0.6 + 1 / 0.6) / 4),
            (
                "polygon:3",
                math.pi / math.sqrt(27),
            ),  # of a regular polygon: pi (2 + cos(2a)) / (3 n sin(2a)), a = pi/n
            ("polygon:4", math.pi / 6),
            ("polygon:6", math.pi * 5 / 6 / math.sqrt(27)),
        ],
    )
    def test_second_moment(self, text, moment):
        radius, n = 20.0, 50
        spread = spread_point(text, radius, n)
        squares = torch.arange(-n, n + 1, dtype=torch.float64) ** 2
        found = float(spread.sum(1) @ squares + spread.sum(0) @ squares) / radius**2
        # The Gaussian's cut takes 2.7 percent. A row that a polygon's flat edge fills in part becomes shorter instead.
        tolerance = 1e-2 if "polygon" in text else 2e-3
        assert found == pytest.approx(moment * (0.9733 if text == "gaussian" else 1), rel=tolerance)


class TestOrientation:
    @pytest.mark.parametrize("blades", [3, 5, 6])
    def test_a_polygon_stands_on_an_edge(self, blades):
        radius, half = 14.0, math.pi / blades
        rows = spread_point(f"polygon:{blades}", radius, 30).sum(1) * math.pi * radius**2  # widths, in pixels
        circumscribed = radius * math.sqrt(math.pi / (blades * math.sin(half) * math.cos(half)))
        bottom = math.floor(circumscribed * math.cos(half) - 0.5)  # the last row that it fills
        top = math.floor(circumscribed * (math.cos(half) if blades % 2 == 0 else 1) + 0.5)
        assert float(rows[30 + bottom]) == pytest.approx(2 * circumscribed * math.sin(half), rel=0.1)
        assert rows[30 + bottom + 2 :].max() < 1e-9
        assert rows[30 - top] > 0
        assert rows[: 30 - top].max() < 1e-9
        if blades % 2:  # and a vertex at the top
            assert rows[30 - top] < 0.2 * rows[30 + bottom]

    @pytest.mark.parametrize("text", ["polygon:3", "polygon:5"])
    def test_rotation_is_clockwise(self, text):
        upright, turned = (spread_point(aperture, 9.0, 18) for aperture in (text, f"{text}:90"))
        # A quarter turn clockwise brings what is above to the right.
        assert relative_error(turned, upright.rot90(-1)) < 0.2
        assert relative_error(turned, upright.rot90(1)) > 0.3

    @pytest.mark.parametrize(
        ("text", "same"), [("cat_eye:0.5:10", "cat_eye:0.5:-170"), ("ellipse:0.6:30", "ellipse:0.6:-150")]
    )
    def test_half_a_turn(self, text, same):
        assert relative_error(spread_point(text, 6.5, 14), spread_point(same, 6.5, 14)) < 1e-9

    def test_tilted_shapes_lean_clockwise(self):
        """What is tall and turned by 30 degrees has its upper end on the right."""
        place = torch.arange(-14.0, 15, dtype=torch.float64)
        for text in ("ellipse:0.4:30", "cat_eye:0.6:30"):
            assert float(place @ spread_point(text, 6.0, 14) @ place) < -4

    def test_a_quarter_turn_of_an_ellipse(self):
        random = torch.Generator().manual_seed(0)
        image = torch.rand(1, 2, 40, 40, dtype=torch.float64, generator=random)
        radius = 5 + torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=random)
        for blur in (scatter_blur, gather_blur):
            turned = blur(image, radius, "ellipse:0.5:90", backend="reference")
            wide = blur(image, radius, "ellipse:2", backend="reference")
            transposed = blur(image.mT, radius.mT, "ellipse:0.5", backend="reference").mT
            assert relative_error(turned, wide) < 1e-12
            assert relative_error(turned, transposed) < 2e-2  # rows are averaged, columns are not

    @pytest.mark.parametrize("text", ["polygon:6", "cat_eye:0.4", "ellipse:0.5", "disk", "ring:0.5"])
    def test_mirror_images(self, text):
        spread = spread_point(text, 5.7, 14)
        for mirrored in (spread.flip(0), spread.flip(1)):
            torch.testing.assert_close(spread, mirrored, rtol=0, atol=1e-12)


class TestLimits:
    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("ring:0", 0),
            ("ellipse:1", 1e-15),
            ("ellipse:1:77", 1e-9),
            ("polygon:100", 1e-2),
            ("polygon:5:0:1", 3e-3),
            ("polygon:6:17:1", 3e-3),
            ("cat_eye:0", 3e-3),
            ("cat_eye:0:50", 3e-3),
        ],
    )
    def test_what_becomes_a_disk(self, text, error):
        for radius in (0.9, 3.0, 10.4):
            assert relative_error(spread_point(text, radius, 12), spread_point("disk", radius, 12)) <= error

    def test_equal_rows(self):
        assert torch.equal(Aperture.ring(0).rows, Aperture.disk().rows)
        torch.testing.assert_close(Aperture.ellipse(1).rows, Aperture.disk().rows, rtol=0, atol=1e-15)

    def test_kinds(self):
        kinds = {name: Aperture.parse(name).kind for name in ("disk", "ring:0.5", "polygon:6", "gaussian")}
        assert list(kinds.values()) == [
            ApertureKind.ELLIPSES,
            ApertureKind.ELLIPSES,
            ApertureKind.TABLE,
            ApertureKind.GAUSSIAN,
        ]
