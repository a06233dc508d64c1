"""Malformed and hostile pictures."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from hostile_cases import Case, truncate
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(samples, kind, **settings):
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, kind, **settings)
    return buffer.getvalue()


def encode_tiff(samples, **settings):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **settings)
    return buffer.getvalue()


def replace(content, old, new):
    assert content.count(old) >= 1, old
    return content.replace(old, new, 1)


def list_cases():
    return [*_truncated(), *_pngs(), *_tiffs(), *_jpegs(), *_webps(), *_other_kinds(), *_places("photo", "jpg")]


def _truncated():
    deep = NOISE.astype(np.uint16) * 257
    whole = {
        "baseline.jpg": encode(NOISE, "JPEG"),
        "progressive.jpg": encode(NOISE, "JPEG", progressive=True),
        "eight.png": encode(NOISE, "PNG"),
        "sixteen.png": cv2.imencode(".png", deep)[1].tobytes(),
        "raw.tif": encode(NOISE, "TIFF"),
        "deflated.tif": encode(NOISE, "TIFF", compression="tiff_adobe_deflate"),
        "sixteen.tif": encode_tiff(deep, photometric="rgb"),
        "lossy.webp": encode(NOISE, "WEBP"),
        "lossless.webp": encode(NOISE, "WEBP", lossless=True),
    }
    return [
        case
        for name, content in whole.items()
        for case in truncate(name, "photo", content, (0.01, 0.2, 0.5, 0.8, 0.95))
    ]


# PNG


def chunk(kind, data, crc=None, length=None):
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", check)


def header(width=8, height=6, depth=8, colour=2, compression=0, filtering=0, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, interlace))


ROWS = (b"\0" + bytes(24)) * 6
DATA = chunk(b"IDAT", zlib.compress(ROWS))
END = chunk(b"IEND", b"")


def zeros_of(megabytes):
    """A deflate stream that is a thousandth of what it unpacks to; made in no time."""
    packer = zlib.compressobj(9)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block + again * (megabytes - 1) + b"\x03\x00" + struct.pack(">I", 1)  # its Adler sum is wrong


def _pngs():
    bomb = zeros_of(2048)
    files = {
        "signature_only": SIGNATURE,
        "no_header": SIGNATURE + DATA + END,
        "no_data": SIGNATURE + header() + END,
        "data_before_the_header": SIGNATURE + DATA + header() + END,
        "header_too_short": SIGNATURE + chunk(b"IHDR", bytes(5)) + DATA + END,
        "header_with_a_wrong_crc": SIGNATURE + header()[:-4] + bytes(4) + DATA + END,
        "100000_by_100000": SIGNATURE + header(100_000, 100_000) + DATA + END,
        "largest_sides": SIGNATURE + header(2**31 - 1, 2**31 - 1) + DATA + END,
        "sides_beyond_the_format": SIGNATURE + header(2**32 - 1, 2**32 - 1) + DATA + END,
        "one_endless_row": SIGNATURE + header(2**31 - 1, 1) + DATA + END,
        "no_width": SIGNATURE + header(width=0) + DATA + END,
        "no_height": SIGNATURE + header(height=0) + DATA + END,
        "three_bits": SIGNATURE + header(depth=3) + DATA + END,
        "no_bits": SIGNATURE + header(depth=0) + DATA + END,
        "255_bits": SIGNATURE + header(depth=255) + DATA + END,
        "one_bit_rgb": SIGNATURE + header(depth=1) + DATA + END,
        "colour_type_5": SIGNATURE + header(colour=5) + DATA + END,
        "filter_method_9": SIGNATURE + header(filtering=9) + DATA + END,
        "row_filter_200": SIGNATURE + header() + chunk(b"IDAT", zlib.compress(b"\xc8" + ROWS[1:])) + END,
        "data_that_are_not_packed": SIGNATURE + header() + chunk(b"IDAT", b"garbage" * 20) + END,
        "data_too_short": SIGNATURE + header() + chunk(b"IDAT", zlib.compress(ROWS[:40])) + END,
        "data_of_length_0": SIGNATURE + header() + chunk(b"IDAT", b"") + END,
        "sixteen_bits_too_short": SIGNATURE + header(depth=16) + DATA + END,
        "interlaced_too_short": SIGNATURE + header(60, 90, interlace=1) + DATA + END,
        "chunk_of_2_gib": SIGNATURE + header() + chunk(b"IDAT", b"abc", length=2**31 - 1),
        "chunk_of_4_gib": SIGNATURE + header() + chunk(b"IDAT", b"abc", length=2**32 - 1),
        "chunk_with_an_odd_name": SIGNATURE + header() + chunk(b"\0\0\0\0", b"") + DATA + END,
        "critical_chunk_with_a_wrong_crc": SIGNATURE + header() + chunk(b"PLTE", bytes(3), crc=7) + DATA + END,
        "palette_missing": SIGNATURE + header(colour=3) + END,
        "text_bomb": SIGNATURE + header() + chunk(b"zTXt", b"a\0\0" + bomb) + DATA + END,
        "international_text_bomb": SIGNATURE + header() + chunk(b"iTXt", b"a\0\1\0\0\0" + bomb) + DATA + END,
        "profile_bomb": SIGNATURE + header() + chunk(b"iCCP", b"a\0\0" + bomb) + DATA + END,
        "many_texts": SIGNATURE + header() + chunk(b"tEXt", b"a\0" + bytes(900_000)) * 80 + DATA + END,
        "animation_of_no_frames": SIGNATURE + header() + chunk(b"acTL", bytes(8)) + END,
    }
    return [Case(f"{name}.png", "photo", content, bomb="bomb" in name) for name, content in files.items()]


# TIFF


def make_tiff(tags=(), missing=(), data=None, compression=1):
    """8 x 6 RGB in one strip behind the directory, with other tags, and without some."""
    data = bytes(144) if data is None else data
    usual = {256: 8, 257: 6, 258: (8, 8, 8), 259: compression, 262: 2, 277: 3, 278: 6, 273: 512, 279: len(data)}
    wanted = {tag: value for tag, value in {**usual, **dict(tags)}.items() if tag not in missing}
    entries, values = b"", b""
    for tag, value in sorted(wanted.items()):
        kind, packed = (
            (2, value.encode())
            if isinstance(value, str)
            else (4, struct.pack(f"<{len(list_of(value))}I", *list_of(value)))
        )
        if len(packed) > 4:
            values, packed = values + packed, struct.pack("<I", 256 + len(values))
        count = len(value) if isinstance(value, str) else len(list_of(value))
        entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(wanted)) + entries + bytes(4)
    return (b"II*\0\x08\0\0\0" + directory).ljust(256, b"\0") + values.ljust(256, b"\0") + data


def list_of(value):
    return value if isinstance(value, tuple) else (value,)


def _tiffs():
    floats = np.zeros((4, 6, 3), np.float32)
    huge = {256: 100_000, 257: 100_000, 278: 100_000}
    files = {
        "header_only": b"II*\0",
        "directory_beyond_the_end": b"II*\0" + struct.pack("<I", 9999) + bytes(20),
        "directory_at_0": b"II*\0" + bytes(40),
        "directory_in_itself": b"II*\0" + struct.pack("<I", 4) + bytes(30),
        "65535_entries": b"II*\0\x08\0\0\0\xff\xff" + bytes(60),
        "entries_of_4_gib": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 4, 2**32 - 1, 8) * 2 + bytes(4),
        "entries_of_an_unknown_type": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 99, 1, 8) * 2 + bytes(4),
        "big_tiff_beyond_the_end": b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**60) + bytes(20),
        "big_endian_garbage": b"MM\0*" + b"\xff" * 40,
        "no_width": make_tiff(missing=[256]),
        "no_height": make_tiff(missing=[257]),
        "no_strips": make_tiff(missing=[273, 279]),
        "width_0": make_tiff({256: 0}),
        "height_0": make_tiff({257: 0}),
        "100000_by_100000": make_tiff(huge),
        "100000_by_100000_deflated": make_tiff(huge, data=zlib.compress(bytes(100)), compression=8),
        "largest_sides": make_tiff({256: 2**32 - 1, 257: 2**32 - 1}),
        "strip_beyond_the_end": make_tiff({273: 2**31}),
        "strip_too_short": make_tiff(data=bytes(20)),
        "strip_that_is_not_packed": make_tiff(data=b"garbage" * 9, compression=8),
        "broken_lzw": make_tiff(data=b"\xff" * 60, compression=5),
        "jpeg_without_tables": make_tiff(data=b"\xff\xd8\xff\xd9", compression=7),
        "unknown_compression": make_tiff(compression=12345),
        "0_bits": make_tiff({258: (0, 0, 0)}),
        "64_bits": make_tiff({258: (64, 64, 64)}),
        "mixed_bits": make_tiff({258: (8, 16, 8)}),
        "1000_samples": make_tiff({277: 1000}),
        "0_samples": make_tiff({277: 0}),
        "photometric_999": make_tiff({262: 999}),
        "samples_of_unknown_format": make_tiff({339: (77, 77, 77)}),
        "signed_samples": encode_tiff(floats.astype(np.int16), photometric="rgb"),
        "float_samples": encode_tiff(floats, photometric="rgb"),
        "double_samples": encode_tiff(floats[..., 0].astype(np.float64)),
        "complex_samples": encode_tiff(floats[..., 0].astype(np.complex64)),
        "five_channels": encode_tiff(np.zeros((4, 6, 5), np.uint16), photometric="rgb"),
        "volume": encode_tiff(np.zeros((3, 4, 6), np.int32), photometric="minisblack"),
        "tile_of_width_0": make_tiff({322: 0, 323: 0, 324: 512, 325: 144}, missing=[273, 279, 278]),
        "text_as_width": make_tiff({256: "eig"}),
    }
    return [Case(f"{name}.tif", "photo", content) for name, content in files.items()]


# JPEG and WebP


def _jpegs():
    good = encode(NOISE, "JPEG")
    frame = good.index(b"\xff\xc0")
    scan = good.index(b"\xff\xda")

    def with_frame(precision=8, height=60, width=90, components=3, marker=0xC0):
        head = struct.pack(">BBHBHHB", 0xFF, marker, 17, precision, height, width, components)
        return good[:frame] + head + good[frame + 10 :]

    files = {
        "start_only": b"\xff\xd8\xff",
        "start_and_end": b"\xff\xd8\xff\xd9",
        "no_scan": good[:scan] + b"\xff\xd9",
        "no_frame": good[:frame] + good[scan:],
        "no_tables": b"\xff\xd8" + good[frame:],
        "65500_by_65500": with_frame(width=65500, height=65500),
        "14000_by_14000": with_frame(width=14000, height=14000),
        "width_0": with_frame(width=0),
        "height_0": with_frame(height=0),
        "no_components": with_frame(components=0),
        "200_components": with_frame(components=200),
        "16_bits": with_frame(precision=16),
        "lossless_frame": with_frame(marker=0xC3),
        "hierarchical_frame": with_frame(marker=0xC5),
        "segment_beyond_the_end": good[:20] + b"\xff\xe1\xff\xff",
        "quantization_of_length_3": replace(good, b"\xff\xdb\0\x43", b"\xff\xdb\0\x03"),
        "broken_huffman_table": replace(good, b"\xff\xc4\0\x1f\0", b"\xff\xc4\0\x1f\xff"),
        "garbage_after_the_start": b"\xff\xd8\xff" + b"\x42" * 500,
        "only_fill_bytes": b"\xff\xd8" + b"\xff" * 5000,
    }
    return [Case(f"{name}.jpg", "photo", content) for name, content in files.items()]


def riff(*chunks):
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webps():
    frame = b"\x10\x02\0\x9d\x01\x2a"
    lossy, lossless = encode(NOISE, "WEBP"), encode(NOISE, "WEBP", lossless=True)
    canvas = bytes(4) + b"\xff\xff\xff" * 2
    files = {
        "riff_only": b"RIFF\0\0\0\0WEBP",
        "sound": riff() + b"",
        "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        "no_size": replace(lossy, lossy[4:8], bytes(4)),
        "wrong_start_code": replace(lossy, b"\x9d\x01\x2a", b"\0\0\0"),
        "wrong_lossless_signature": replace(lossless, b"\x2f", b"\x30"),
        "16383_by_16383": riff((b"VP8 ", frame + struct.pack("<HH", 16383, 16383) + bytes(20))),
        "size_0": riff((b"VP8 ", frame + bytes(24))),
        "canvas_without_a_picture": riff((b"VP8X", canvas)),
        "canvas_beyond_the_format": riff((b"VP8X", b"\x02" + canvas[1:]), (b"ANIM", bytes(6))),
        "animation_without_frames": riff((b"VP8X", b"\x02\0\0\0\x07\0\0\x05\0\0"), (b"ANIM", bytes(6))),
        "frame_of_garbage": riff(
            (b"VP8X", b"\x02\0\0\0\x07\0\0\x05\0\0"), (b"ANIM", bytes(6)), (b"ANMF", b"\xff" * 60)
        ),
        "lossless_of_garbage": riff((b"VP8L", b"\x2f" + b"\xff" * 60)),
        "unknown_chunk": riff((b"ABCD", bytes(60))),
    }
    return [Case(f"{name}.webp", "photo", content) for name, content in files.items()]


def _other_kinds():
    frames = [Image.new("L", (8, 6), level) for level in (0, 128, 255)]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    files = {
        "empty.jpg": b"",
        "one_byte.png": b"\x89",
        "zeros.tif": bytes(4096),
        "gif_named.jpg": gif.getvalue(),
        "bitmap_named.png": encode(NOISE, "BMP"),
        "icon_named.png": encode(NOISE, "ICO"),
        "portable_pixmap_named.tif": encode(NOISE, "PPM"),
        "photoshop_named.jpg": b"8BPS\0\x01" + bytes(60),
        "heic_named.jpg": b"\0\0\0\x18ftypheic" + bytes(60),
        "jpeg_xl_named.jpg": b"\xff\x0a" + bytes(60),
        "jpeg_2000_named.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
        "page_named.jpg": b"<html><body>404</body></html>",
        "drawing_named.png": b"<svg xmlns='http://www.w3.org/2000/svg'><!ENTITY a 'aaa'></svg>",
        "document_named.jpg": b"%PDF-1.7\n" + bytes(60),
        "program_named.jpg": b"\x7fELF" + bytes(60),
        "script_named.jpg": b"#!/bin/sh\ntouch pwned\n",
        "archive_named.jpg": b"PK\x03\x04" + bytes(60),
        "gzip_named.jpg": b"\x1f\x8b\x08" + bytes(60),
        "postscript_named.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n(pwned) (w) file\n",
        "text_with_a_mark.jpg": "\ufeffphoto".encode("utf-16"),
    }
    return [Case(name, "photo", content) for name, content in files.items()]


def _places(reader, suffix):
    """Names under which there is no file to be read."""

    def make_socket(path: Path) -> None:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
        os.chdir(here)

    makers = {
        "missing": lambda path: None,
        "folder": Path.mkdir,
        "link_to_itself": lambda path: path.symlink_to(path),
        "link_to_nothing": lambda path: path.symlink_to("nothing"),
        "pipe": lambda path: os.mkfifo(path),
        "link_to_zeros": lambda path: path.symlink_to("/dev/zero"),
        "link_to_null": lambda path: path.symlink_to("/dev/null"),
        "socket": make_socket,
        "zero\0byte": lambda path: None,
        "n" * 300: lambda path: None,
        "in_a_file/of_a_folder": lambda path: path.parent.write_bytes(b"a file"),
    }
    return [Case(f"{reader}_{name}.{suffix}", reader, make) for name, make in makers.items()]
