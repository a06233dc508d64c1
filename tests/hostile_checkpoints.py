"""Malformed and hostile checkpoints."""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib

import torch
from hostile_cases import PAYLOAD, Case, truncate
from hostile_maps import Attack
from hostile_photos import NOISE, _places, encode, zeros_of

GOOD = {"weight": torch.arange(300.0), "bias": torch.ones(3)}


def save(content, zipped=True):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def list_cases():
    return [
        *_truncated(),
        *_code(),
        *_pickles(),
        *_claims(),
        *_archives(),
        *_contents(),
        *_safetensors(),
        *_places("checkpoint", "pth"),
        *_places("checkpoint", "safetensors"),
    ]


def _truncated():
    from safetensors.torch import save as save_safetensors

    parts = (0.01, 0.2, 0.5, 0.8, 0.95)
    return [
        *truncate("zipped.pth", "checkpoint", save(GOOD), parts),
        *truncate("legacy.pth", "checkpoint", save(GOOD, zipped=False), parts),
        *truncate("checkpoint.safetensors", "checkpoint", save_safetensors(GOOD), parts),
    ]


def zipped(data, *others, name="data"):
    """An archive as torch.save makes it, round this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for entry, content in ((f"{name}/data.pkl", data), (f"{name}/version", b"3\n"), *others):
            file.writestr(entry, content)
    return buffer.getvalue()


def legacy(data, keys=()):
    """A file as torch.save made it before 1.6, round this pickle."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system))
    return head + data + pickle.dumps(list(keys), 2)


# Pickles that run code, by every way that there is to name a function and to call it.

_CALL = f"(S'{PAYLOAD}'\ntR."
ATTACKS = {
    "system": pickle.dumps(Attack(), 2),
    "system_protocol_0": pickle.dumps(Attack(), 0),
    "system_protocol_4": pickle.dumps(Attack(), 4),
    "os_system": f"cos\nsystem\n{_CALL}".encode(),
    "eval": f'cbuiltins\neval\n(S\'__import__("os").system("{PAYLOAD}")\'\ntR.'.encode(),
    "exec": f'cbuiltins\nexec\n(S\'__import__("os").system("{PAYLOAD}")\'\ntR.'.encode(),
    "subprocess": b"csubprocess\ncheck_call\n((S'touch'\nS'pwned'\nltR.",
    "instance": f"(S'{PAYLOAD}'\nios\nsystem\n.".encode(),
    "object": f"(cos\nsystem\nS'{PAYLOAD}'\no.".encode(),
    "attribute": b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'touch pwned'\ntR.",
    "import": f"cbuiltins\n__import__\n(S'os'\ntR0cos\nsystem\n{_CALL}".encode(),
    "runpy": b"crunpy\n_run_code\n(S'import os; os.system(\"touch pwned\")'\n}tR.",
    "pickle_in_a_pickle": b"c_pickle\nloads\n(c_codecs\nencode\n(Vcos\\u000asystem\\u000a(S'touch pwned'\\u000atR.\n"
    b"Vlatin1\ntRtR.",
    "torch_load": b"ctorch.serialization\nload\n(S'other.pth'\ntR.",
    "torch_hub": b"ctorch.hub\nload\n(S'pwned/pwned'\nS'pwned'\ntR.",
    "compiled_code": b"ctorch.utils.cpp_extension\nload_inline\n(S'a'\nS''\ntR.",
    "numpy_object": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
    "state_of_an_object": f"ctypes\nSimpleNamespace\n)R}}S'a'\ncos\nsystem\n{_CALL[:-1]}sb.".encode(),
}


def _code():
    inside = pickle.dumps({"weight": Attack()}, 2)
    wrapped = pickle.dumps({"state_dict": {"weight": Attack()}}, 2)
    attacks = {**ATTACKS, "within_a_state": inside, "within_a_wrapper": wrapped}
    cases = [
        Case(f"{name}_{container.__name__}.pth", "checkpoint", container(data))
        for name, data in attacks.items()
        for container in (zipped, legacy, bytes)
    ]
    script = zipped(b"}.", ("data/constants.pkl", ATTACKS["system"]), ("data/code/__torch__.py", b"import os"))
    cases += [
        Case("torchscript.pth", "checkpoint", script),
        Case("pickle_named.safetensors", "checkpoint", ATTACKS["system"]),
        Case("archive_named.safetensors", "checkpoint", zipped(ATTACKS["system"])),
        Case("attack_in_the_storage_keys.pth", "checkpoint", legacy(b"}.")[:-2] + ATTACKS["system"]),
        Case("attack_as_magic_number.pth", "checkpoint", ATTACKS["system"] + legacy(b"}.")),
    ]
    return cases


def _pickles():
    """Pickles that are none, or ask for too much."""
    pickles = {
        "nothing": b"",
        "no_stop": b"}",
        "stop_only": b".",
        "pop_of_nothing": b"0.",
        "unknown_opcode": b"\xff.",
        "text_longer_than_the_file": b"X\xff\xff\xff\x7fabc.",
        "text_of_an_exabyte": b"\x8d" + struct.pack("<Q", 2**60) + b"abc.",
        "bytes_of_an_exabyte": b"\x8e" + struct.pack("<Q", 2**60) + b"abc.",
        "number_of_2_gib": b"\x8b\xff\xff\xff\x7f1.",
        "number_of_negative_length": b"\x8b\xff\xff\xff\xff1.",
        "memo_that_is_missing": b"h\x07.",
        "memo_at_4_gib": b"}r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.",
        "list_as_a_key": b"}(]K\x01u.",
        "marks": b"(" * 50_000 + b".",
        "lists_in_lists": b"]" * 50_000 + b"a" * 49_999 + b".",
        "list_in_itself": b"]q\0h\0a.",
        "extension": b"\x82\x01.",
        "persistent_text": b"Pwned\n.",
        "persistent_number": b"K\x07Q.",
        "out_of_band_buffer": b"\x80\x05\x97.",
        "bytes_of_100_gb_made": pickle.dumps({"weight": Call(bytearray, 10**11)}, 2),
        "names_that_are_not_utf8": b"c\xff\xfe\n\xff\n.",
    }
    return [
        Case(f"pickle_{name}_{container.__name__}.pth", "checkpoint", container(data), bomb=True)
        for name, data in pickles.items()
        for container in (zipped, legacy)
    ]


# Tensors that claim more than there is


class Call:
    """Pickled, it is a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Pickler(pickle.Pickler):
    """Names storages as torch does."""

    def persistent_id(self, value):
        return value if isinstance(value, tuple) and value[:1] == ("storage",) else None


def tensor(size=(2,), stride=(1,), offset=0, numel=2, location="cpu", kind=torch.FloatStorage, more=()):
    """A pickle of a state dict with one tensor; `more` is what older files add to the storage."""
    storage = ("storage", kind, "0", location, numel, *more)
    rebuild = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"weight": rebuild})
    return buffer.getvalue()


def with_storage(data, content=bytes(8)):
    return zipped(data, ("data/data/0", content), ("data/byteorder", b"little"))


def make(function, *arguments):
    return pickle.dumps({"weight": Call(function, *arguments)}, 2)


def _claims():
    old = tensor(more=(None,))
    files = {
        "size_beyond_the_storage": with_storage(tensor((10**9,))),
        "storage_beyond_the_record": with_storage(tensor((1000,), numel=1000)),
        "storage_of_an_exabyte": with_storage(tensor((1000,), numel=2**58)),
        "storage_of_negative_size": with_storage(tensor(numel=-5)),
        "storage_that_is_missing": zipped(tensor()),
        "storage_of_an_unknown_type": with_storage(tensor(kind=torch.float32)),
        "one_value_a_trillion_times": with_storage(tensor((10**12,), (0,))),
        "one_value_a_thousand_times": with_storage(tensor((1000,), (0,))),
        "offset_beyond_the_storage": with_storage(tensor(offset=10**9)),
        "negative_offset": with_storage(tensor(offset=-(10**6))),
        "negative_size": with_storage(tensor((-2,))),
        "negative_stride": with_storage(tensor(stride=(-1,))),
        "stride_that_overflows": with_storage(tensor((3, 3), (2**62, 2**62))),
        "sizes_that_overflow": with_storage(tensor((2**62, 2**62), (0, 0))),
        "text_as_size": with_storage(tensor(("a",))),
        "more_strides_than_axes": with_storage(tensor(stride=(1, 1, 1))),
        "tensor_of_40_gb_made": zipped(make(torch.FloatTensor, 10**10)),
        "tensor_of_400_mb_made": zipped(make(torch.FloatTensor, 10**8)),
        "parameter_of_a_number": zipped(make(torch._utils._rebuild_parameter, 7, True, collections.OrderedDict())),
        "legacy_storage_of_40_gb": legacy(tensor(numel=10**10, more=(None,)), ["0"]),
        "legacy_storage_that_is_missing": legacy(old, ["0"]),
        "legacy_storage_of_another_size": legacy(old, ["0"]) + struct.pack("<q", 99) + bytes(8),
        "legacy_key_that_is_missing": legacy(old, ["7"]) + struct.pack("<q", 2) + bytes(8),
        "legacy_view_beyond_its_storage": legacy(tensor(more=(("1", 10**6, 2),)), ["0"])
        + struct.pack("<q", 2)
        + bytes(8),
        "sparse": save({"weight": torch.eye(3).to_sparse()}),
        "without_values": save({"weight": torch.empty(10**12, device="meta")}),
    }
    return [Case(f"tensor_{name}.pth", "checkpoint", content, bomb=True) for name, content in files.items()]


def list_sound():
    """What the forgeries above are made of, unforged: files that are read."""
    return {
        "zipped": with_storage(tensor(), struct.pack("<2f", 3, 4)),
        "legacy": legacy(tensor(more=(None,)), ["0"]) + struct.pack("<q2f", 2, 3, 4),
        "joined": join(
            (b"data/data.pkl", tensor(), len(tensor()), 0),
            (b"data/version", b"3\n", 2, 0),
            (b"data/data/0", struct.pack("<2f", 3, 4), 8, 0),
        ),
    }


# Archives


def entry(name, packed, size, method=8, at=0):
    """The head of a packed file, and its line in the archive's directory."""
    check = zlib.crc32(packed) if method == 0 else 0
    common = struct.pack("<HHHHHIII", 20, 0, method, 0, 0x21, check, len(packed), size) + struct.pack("<H", len(name))
    local = b"PK\x03\x04" + common + b"\0\0" + name + packed
    return local, b"PK\x01\x02\x14\0" + common + bytes(12) + struct.pack("<I", at) + name


def join(*entries):
    heads, lines, at = b"", b"", 0
    for name, packed, size, method in entries:
        local, line = entry(name, packed, size, method, at)
        heads, lines, at = heads + local, lines + line, at + len(local)
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(lines), len(heads), 0)
    return heads + lines + b"PK\x05\x06" + end


def _archives():
    bomb = zeros_of(2048)[2:-4]  # without zlib's own head and sum
    data = tensor((2**29,), numel=2**29)
    plain = zipped(tensor(), ("data/data/0", bytes(8)))
    end = plain.rindex(b"PK\x05\x06")
    overlapping = plain[:end][: plain.index(b"PK\x01\x02")] + plain[plain.index(b"PK\x01\x02") : end] * 400
    count = 400 * 3
    overlapping += struct.pack(
        "<4sHHHHIIH",
        b"PK\x05\x06",
        0,
        0,
        count,
        count,
        len(overlapping) - plain.index(b"PK\x01\x02"),
        plain.index(b"PK\x01\x02"),
        0,
    )
    encrypted = bytearray(plain)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[plain.index(mark) + at] |= 1
    legacy_tar = io.BytesIO()
    with tarfile.open(fileobj=legacy_tar, mode="w") as file:
        for name, content in (("storages", ATTACKS["system"]), ("../pwned", b""), ("tensors", b""), ("pickle", b"")):
            information = tarfile.TarInfo(name)
            information.size = len(content)
            file.addfile(information, io.BytesIO(content))
    files = {
        "storage_bomb": join(
            (b"data/data.pkl", data, len(data), 0), (b"data/version", b"3\n", 2, 0), (b"data/data/0", bomb, 2**31, 8)
        ),
        "pickle_bomb": join((b"data/data.pkl", bomb, 2**31, 8), (b"data/version", b"3\n", 2, 0)),
        "bomb_beside": join(
            (b"data/data.pkl", b"}.", 2, 0), (b"data/version", b"3\n", 2, 0), (b"data/more", bomb, 2**31, 8)
        ),
        "bomb_that_hides_its_size": join((b"data/data.pkl", bomb, 2, 8), (b"data/version", b"3\n", 2, 0)),
        "overlapping_files": overlapping,
        "encrypted": bytes(encrypted),
        "no_pickle": zipped(b"}.").replace(b"data.pkl", b"data.pkx"),
        "no_version": join((b"data/data.pkl", b"}.", 2, 0)),
        "version_of_99": zipped(b"}.").replace(b"3\n", b"99"),
        "leaving_its_folder": join((b"../../pwned/data.pkl", b"}.", 2, 0)),
        "no_entries": join(),
        "no_directory": plain[: plain.index(b"PK\x01\x02")],
        "directory_beyond_the_end": plain[:end] + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 3, 3, 100, 2**31, 0),
        "65535_entries": plain[:end] + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, 100, end - 100, 0),
        "wrong_sum": plain.replace(b"FloatStorage", b"FloatStorbge"),
        "an_array_archive": zipped(b"", name="arr"),
        "a_picture": encode(NOISE, "PNG"),
        "a_page": b"<html><body>You are not signed in</body></html>",
        "gzipped": b"\x1f\x8b\x08" + bytes(20) + zlib.compress(save(GOOD)),
        "legacy_tar": legacy_tar.getvalue(),
        "empty": b"",
        "zeros": bytes(4096),
        "wrong_magic_number": pickle.dumps(1234, 2) + save(GOOD, zipped=False),
        "wrong_protocol": save(GOOD, zipped=False).replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2)),
        "safetensors_named_pth": struct.pack("<Q", 2) + b"{}",
    }
    return [Case(f"archive_{name}.pth", "checkpoint", content, bomb=True) for name, content in files.items()]


def _contents():
    weight = torch.ones(2)
    contents = {
        "list": [weight],
        "tuple": (weight, weight),
        "tensor": weight,
        "number": 7,
        "text": "weights",
        "none": None,
        "nothing": {},
        "wrapped_nothing": {"state_dict": {}},
        "wrapped_number": {"state_dict": 7},
        "wrapped_twice": {"model": {"state_dict": {"weight": weight}}},
        "wrapped_thrice": {"state_dict": {"model": {"model_state": {"weight": weight}}}},
        "number_as_key": {1: weight},
        "none_as_key": {None: weight},
        "tuple_as_key": {("a", "b"): weight},
        "bytes_as_key": {b"weight": weight},
        "number_as_value": {"weight": weight, "epoch": 7},
        "list_of_numbers": {"weight": [1.0, 2.0]},
        "nested_value": {"weight": {"a": weight}},
        "counter": collections.Counter("weights"),
    }
    return [Case(f"content_{name}.pth", "checkpoint", save(content)) for name, content in contents.items()]


# safetensors


def pack(head, data=bytes(16), length=None):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def describe(shape=(4,), offsets=(0, 16), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def _safetensors():
    one = {"weight": describe()}
    heads = {
        "empty": b"",
        "seven_bytes": bytes(7),
        "no_header": bytes(8),
        "header_longer_than_the_file": pack(one, length=10_000),
        "header_of_an_exabyte": pack(one, length=2**60),
        "header_of_2_to_the_64": pack(one, length=2**64 - 1),
        "header_cut": pack(one, length=20),
        "header_that_is_no_json": pack(b"weight: F32"),
        "header_that_is_a_list": pack([1, 2]),
        "header_that_is_not_utf8": pack(b'{"\xff\xfe": 1}'),
        "header_of_brackets": pack(b"[" * 100_000),
        "header_of_objects": pack(b'{"a":' * 50_000),
        "no_tensors": pack({}, b""),
        "metadata_only": pack({"__metadata__": {"a": "b"}}, b""),
        "metadata_of_numbers": pack({"__metadata__": {"a": 1}, **one}),
        "metadata_that_is_a_list": pack({"__metadata__": [1], **one}),
        "unknown_type": pack({"weight": describe(dtype="F31")}),
        "number_as_type": pack({"weight": describe(dtype=32)}),
        "no_type": pack({"weight": {"shape": [4], "data_offsets": [0, 16]}}),
        "no_shape": pack({"weight": {"dtype": "F32", "data_offsets": [0, 16]}}),
        "no_offsets": pack({"weight": {"dtype": "F32", "shape": [4]}}),
        "tensor_that_is_a_number": pack({"weight": 7}),
        "negative_shape": pack({"weight": describe([-4])}),
        "shape_of_floats": pack({"weight": describe([4.0])}),
        "shape_of_text": pack({"weight": describe(["4"])}),
        "shape_100000_by_100000": pack({"weight": describe([100_000, 100_000])}),
        "shape_that_overflows": pack({"weight": describe([2**62, 2**62, 4])}),
        "shape_beyond_integers": pack({"weight": describe([2**70])}),
        "shape_of_another_size": pack({"weight": describe([3])}),
        "offsets_beyond_the_end": pack({"weight": describe([4000], (0, 16_000))}),
        "offsets_of_an_exabyte": pack({"weight": describe([2**58], (0, 2**60))}),
        "offsets_that_overflow": pack({"weight": describe([4], (2**64 - 16, 2**64))}),
        "offsets_reversed": pack({"weight": describe(offsets=(16, 0))}),
        "negative_offsets": pack({"weight": describe(offsets=(-16, 0))}),
        "one_offset": pack({"weight": describe(offsets=(0,))}),
        "overlapping": pack({"a": describe(), "b": describe([2], (8, 16))}),
        "same_bytes_twice": pack({"a": describe(), "b": describe()}),
        "same_name_twice": pack(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' * 2 + b'"b":1}'),
        "gap": pack({"a": describe([1], (0, 4)), "b": describe([2], (8, 16))}),
        "bytes_left_over": pack(one, bytes(40)),
        "data_missing": pack(one, bytes(15)),
        "data_before_the_start": pack({"weight": describe([2], (8, 16))}),
    }
    return [Case(f"{name}.safetensors", "checkpoint", content, bomb=True) for name, content in heads.items()]
