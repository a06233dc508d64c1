"""Malformed and hostile maps."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile

import numpy as np
from hostile_cases import PAYLOAD, Case, truncate
from hostile_photos import NOISE, _places, encode, encode_tiff, zeros_of


class Attack:
    def __reduce__(self):
        return os.system, (PAYLOAD,)


def save(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(text, data=bytes(96), version=b"\x01\x00", length=None):
    """A .npy file with this header, whatever it says."""
    text = text if isinstance(text, bytes) else text.encode("latin1")
    size = len(text) if length is None else length
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", size) + text + data


def describe(shape="(3, 4)", dtype="'<f8'", fortran="False"):
    return f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def archive(*entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return buffer.getvalue()


def list_cases():
    good = save(np.zeros((30, 40)))
    objects = np.empty((2, 2), object)
    objects[:] = Attack()
    attack = pickle.dumps(Attack())
    not_finite = np.ones((4, 6), np.float32)
    not_finite[2, 3] = np.nan
    files = {
        "empty": b"",
        "garbage": b"garbage" * 99,
        "picture": encode(NOISE, "BMP"),
        "pickle_that_runs": attack,
        "objects_that_run": save(objects),
        "objects_by_header": with_header(describe("(1,)", "'|O'"), attack),
        "objects_in_a_structure": with_header(describe("(1,)", "[('a', '|O')]"), attack),
        "header_that_calls": with_header("__import__('os').system('touch pwned')\n"),
        "shape_that_calls": with_header(describe(shape="(__import__('os').system('touch pwned'), 4)")),
        "dtype_that_calls": with_header(describe(dtype="__import__('os').system('touch pwned')")),
        "version_9": with_header(describe(), version=b"\x09\x09"),
        "header_of_4_gib": with_header(describe(), version=b"\x02\x00", length=2**32 - 1),
        "header_longer_than_the_file": with_header(describe(), length=60_000),
        "header_of_20_000_blanks": with_header(describe() + " " * 20_000),
        "header_of_brackets": with_header("(" * 9000),
        "header_of_operators": with_header("-" * 9000 + "1"),
        "header_that_is_a_list": with_header("[1, 2]\n"),
        "header_that_is_no_python": with_header("descr: f8\n"),
        "header_that_is_not_utf8": with_header(b"{'descr': '\xff\xfe'}\n", version=b"\x03\x00"),
        "header_without_a_shape": with_header("{'descr': '<f8', 'fortran_order': False}\n"),
        "header_with_more": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), 'more': 1}\n"),
        "order_that_is_a_number": with_header(describe(fortran="7")),
        "shape_that_is_a_list": with_header(describe("[3, 4]")),
        "shape_of_text": with_header(describe("('3', '4')")),
        "shape_of_floats": with_header(describe("(3.0, 4.0)")),
        "negative_shape": with_header(describe("(-3, -4)")),
        "shape_100000_by_100000": with_header(describe("(100000, 100000)")),
        "shape_of_an_exabyte": with_header(describe("(1000000000, 1000000000)")),
        "shape_that_overflows_to_0": with_header(describe("(4294967296, 4294967296)")),
        "shape_that_overflows_to_12": with_header(describe("(9223372036854775808, 2)")),
        "shape_beyond_integers": with_header(describe(f"({10**40}, 4)")),
        "shape_of_100_axes": with_header(describe(f"({'1, ' * 100})")),
        "dtype_unknown": with_header(describe(dtype="'<q99'")),
        "dtype_of_size_0": with_header(describe("(1000000000, 1000000000)", "'|V0'")),
        "dtype_of_a_gigabyte": with_header(describe("(1, 1)", "'|V1000000000'")),
        "dtype_that_is_a_tuple": with_header(describe(dtype="('<f8', (100000, 100000))")),
        "structure": save(np.zeros((2, 2), [("a", "f4")])),
        "times": save(np.zeros((2, 2), "M8[s]")),
        "text": save(np.array([["a", "b"]])),
        "bytes": save(np.array([[b"a", b"b"]])),
        "complex": save(np.zeros((2, 2), np.complex64)),
        "number": save(np.float64(1)),
        "line": save(np.zeros(9)),
        "stack": save(np.zeros((3, 4, 5))),
        "five_axes": save(np.zeros((2, 2, 2, 2, 2))),
        "nothing": save(np.zeros((0, 4))),
        "one_nan": save(not_finite),
        "nans": save(np.full((4, 6), np.nan, np.float16)),
        "infinity": save(np.where(np.isnan(not_finite), np.inf, 1.0)),
        "minus_infinity": save(np.where(np.isnan(not_finite), -np.inf, 1.0)),
        "too_large_for_32_bits": save(np.full((4, 6), 1e300)),
        "archive": archive(("a.npy", good)),
    }
    others = {
        "archive_bomb.npz": archive(("a.npy", good), ("b.npy", zeros_of(64))),
        "archive_that_leaves_its_folder.npz": archive(("../../pwned", b"")),
        "colours.png": encode(NOISE, "PNG"),
        "colours.jpg": encode(NOISE, "JPEG"),
        "float.tif": encode_tiff(not_finite),
        "pickle_named.png": pickle.dumps(Attack(), 0),
        "array_named.png": good,
        "grey_with_little_data.png": encode(NOISE[..., 0], "PNG")[:200],
    }
    cut = truncate("array.npy", "map", good, (0.0001, 0.001, 0.005, 0.01, 0.5, 0.99))
    return [
        *(
            Case(f"map_{name}.npy", "map", content, bomb="shape" in name or "dtype" in name)
            for name, content in files.items()
        ),
        *(Case(f"map_{name}", "map", content) for name, content in others.items()),
        *cut,
        *_places("map", "npy"),
    ]
