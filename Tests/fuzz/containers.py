"""Mutations of tensor and SentencePiece files that keep the file well-formed."""
import io
import pickletools
import re
import struct
import zipfile
import zlib

import hostile

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
         "U8": 1, "BOOL": 1}
INTEGERS = [-1, 0, 1, 2, 3, 65, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, -2**63, 10**12]
LARGEST = 1 << 20  # maximum bytes of data of a mutated tensor


# ---- safetensors ----

def read_safetensors(data):
    length = struct.unpack("<Q", data[:8])[0]
    return hostile.read_json(data[8:8 + length].decode()), data[8 + length:]


def write_safetensors(header, data):
    text = hostile.write_json(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def product(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def changed_shape(shape, random):
    """Another shape; the same number of elements about half of the time."""
    shape = list(shape)
    kind = random.randrange(9)
    if kind == 0:
        return [product(shape)]
    if kind == 1:
        return shape[::-1]
    if kind == 2:
        return [1] * random.choice([1, 2, 61, 65]) + shape
    if kind == 3:
        return shape[1:]
    if kind == 4:
        return []
    if not shape:
        return [random.choice([0, 1, 2])]
    at = random.randrange(len(shape))
    if kind == 5:
        shape[at] = 0
    elif kind == 6:
        shape[at] = 0
        shape += [random.choice([2**31, 2**40, 2**62])] * random.choice([1, 2, 3])
    elif kind == 7:
        shape[at] = max(0, shape[at] * random.choice([2, 3]) + random.choice([-1, 0, 1]))
    else:
        shape[at] = random.choice([1, 2, 3, 5, 7, 64])
    return shape


def change_safetensors(data, random):
    try:
        header, body = read_safetensors(data)
    except (ValueError, struct.error):
        return hostile.change_bytes(data, random)
    if random.randrange(6) == 0:
        return write_safetensors(hostile.change_json_value(header, random), body)
    tensors = [[key, dict(entry), b""] for key, entry in header if key != "__metadata__"]
    metadata = [(key, entry) for key, entry in header if key == "__metadata__"]
    for tensor in tensors:
        start, end = tensor[1]["data_offsets"]
        tensor[2] = body[start:end]
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        # Most keys differ only in numbers; the others determine sizes, so choose them as often.
        kinds = sorted({re.sub(r"\d+", "0", tensor[0]) for tensor in tensors})
        if kinds:
            kind = random.choice(kinds)
            alike = [tensor for tensor in tensors if re.sub(r"\d+", "0", tensor[0]) == kind]
            change_tensor(random.choice(alike), tensors, random)
    if random.randrange(12) == 0:
        text = random.choice(["x" * 100000, "[" * 5000, '{"lora_alpha": 1e400}', "\x1b[31m", '{"lora_alpha": {}}'])
        key = random.choice(["format", "lora_adapter_metadata", "\x1b]0;t\x07"])
        metadata = [("__metadata__", hostile.Pairs([(key, text)]))]
    header, body, offset = hostile.Pairs(metadata), [], 0
    for key, entry, numbers in tensors:
        fields = [("dtype", entry["dtype"]), ("shape", entry["shape"])]
        fields.append(("data_offsets", [offset, offset + len(numbers)]))
        header.append((key, hostile.Pairs(fields)))
        body.append(numbers)
        offset += len(numbers)
    return write_safetensors(header, b"".join(body))


def change_tensor(tensor, tensors, random):
    key, entry, numbers = tensor
    kind = random.randrange(12)
    if kind == 0:
        tensors.remove(tensor)
    elif kind == 1:
        tensor[0] = random.choice(hostile.NAMES)
    elif kind == 2:
        tensor[0] = re.sub(r"\d+", random.choice(hostile.NUMBERS + ["٣", "01", "1" * 40]), key, count=1)
    elif kind == 3:
        other = random.choice(tensors)
        tensor[0], other[0] = other[0], tensor[0]
    elif kind == 4:
        tensors.append([random.choice([key + ".x", key, key[1:], "model." + key]), dict(entry), numbers])
    elif kind == 5:
        size = SIZES.get(entry["dtype"], 1)
        dtype = random.choice(sorted(SIZES))
        entry["dtype"] = dtype
        tensor[2] = (numbers * SIZES[dtype])[:len(numbers) // size * SIZES[dtype]]
    elif kind == 6 and numbers:
        at = random.randrange(len(numbers))
        bad = random.choice([b"\xff" * 8, b"\0\0\x80\x7f", b"\0\x7c", b"\xff\xff\x7f\x7f"])
        tensor[2] = (numbers[:at] + bad + numbers[at + len(bad):])[:len(numbers)]
    else:
        shape = changed_shape(entry["shape"], random)
        count = product(shape) * SIZES.get(entry["dtype"], 1)
        if count <= LARGEST:
            entry["shape"] = shape
            tensor[2] = (numbers + b"\0" * count)[:count]


# ---- .pth ----

def read_zip(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def write_zip(files):
    body, directory = b"", b""
    for name, data in files:
        encoded = name.encode(errors="replace")[:0xFFFF]  # as long as the format allows
        sizes = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(encoded), 0)
        head = struct.pack("<HHHHH", 20, 0, 0, 0, 0x21)[:10] + sizes
        directory += b"PK\1\2" + struct.pack("<H", 20) + head
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + encoded
        body += b"PK\3\4" + head + encoded + data
    count = len(files)
    return body + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def integer(value):
    size = max(1, (value.bit_length() + 8) // 8)
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def text(value):
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def change_pickle(data, random):
    """Changes numbers, names or operations."""
    try:
        operations = list(pickletools.genops(data))
    except Exception:  # pickletools raises many kinds
        return hostile.change_bytes(data, random)
    ends = [position for _, _, position in operations[1:]] + [len(data)]
    for _ in range(random.choice([1, 1, 2, 4])):
        kind = random.randrange(7)
        wanted = {0: "INT", 1: "INT", 2: "INT", 3: "UNICODE"}.get(kind)
        indices = [
            index for index, (code, _, _) in enumerate(operations)
            if wanted is None or wanted in code.name or (wanted == "INT" and "LONG" in code.name)
        ]
        if not indices:
            continue
        index = random.choice(indices)
        start, end = operations[index][2], ends[index]
        if wanted == "INT":
            new = integer(random.choice(INTEGERS))
        elif wanted == "UNICODE":
            new = text(random.choice(hostile.NAMES))
        elif kind == 4:
            new = b""
        elif kind == 5:
            new = data[start:end] * random.choice([2, 3, 2000])
        else:
            new = random.choice([b"(", b"t", b"N", b"]", b"}", b")", b"0", b"h\0", b"cos\nsystem\n", b"R", b"\x85"])
        return data[:start] + new + data[end:]
    return data


def change_pth(data, random):
    if random.randrange(6) == 0:
        return hostile.change_bytes(data, random)
    try:
        files = read_zip(data)
    except zipfile.BadZipFile:
        return hostile.change_bytes(data, random)
    names = [index for index, (name, _) in enumerate(files) if name.endswith("data.pkl")]
    at = random.choice(names) if names and random.randrange(5) else random.randrange(len(files))
    name, content = files[at]
    if name.endswith("data.pkl"):
        files[at] = (name, change_pickle(content, random))
    else:
        kind = random.randrange(4)
        if kind == 0:
            files[at] = (name, content[:random.randrange(len(content) + 1)])
        elif kind == 1:
            files[at] = (random.choice(hostile.NAMES + [name + "0"]), content)
        elif kind == 2:
            files[at] = (name, hostile.change_bytes(content, random))
        else:
            del files[at]
    return write_zip(files)


# ---- SentencePiece ----

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def encoded(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def read_message(data):
    fields, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            if kind == 2:
                length, at = varint(data, at)
            else:
                length = {1: 8, 5: 4}[kind]
            value, at = data[at:at + length], at + length
        fields.append((key, value))
    return fields


def write_message(fields):
    out = b""
    for key, value in fields:
        out += encoded(key)
        if isinstance(value, int):
            out += encoded(value)
        else:
            out += (encoded(len(value)) if key & 7 == 2 else b"") + value
    return out


def change_message(data, random, depth=0):
    try:
        fields = read_message(data)
    except (IndexError, KeyError):
        return hostile.change_bytes(data, random)
    if not fields:
        return b""
    at = random.randrange(len(fields))
    key, value = fields[at]
    kind = random.randrange(6)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields += [fields[at]] * random.choice([1, 1000])
    elif isinstance(value, int):
        fields[at] = (key, random.choice([0, 1, 2, 3, 6, 2**31, 2**63, 2**64 - 1]))
    elif key & 7 == 2:
        if depth < 1 and kind < 5:
            fields[at] = (key, change_message(value, random, depth + 1))
        else:
            fields[at] = (key, random.choice(hostile.NAMES).encode())
    else:
        fields[at] = (key, random.choice([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f"]) * (len(value) // 4))
    return write_message(fields)


def tokenizer_json(model):
    """A tokenizer.json of the pieces of a SentencePiece model."""
    pieces, marks = [], []
    for key, value in read_message(model):
        if key != 0x0A:
            continue
        fields = dict(read_message(value))
        score = struct.unpack("<f", fields.get(0x15, b"\0\0\0\0"))[0]
        content = fields.get(0x0A, b"").decode(errors="replace")
        if fields.get(0x18, 1) == 3:
            marks.append(hostile.Pairs([("id", len(pieces)), ("content", content), ("special", True)]))
        pieces.append([content, score])
    unknown = next((index for index, piece in enumerate(pieces) if piece[0] == "<unk>"), 0)
    return hostile.write_json(hostile.Pairs([
        ("added_tokens", marks),
        ("normalizer", None),
        ("pre_tokenizer", hostile.Pairs([("type", "Metaspace"), ("prepend_scheme", "always")])),
        ("model", hostile.Pairs([("type", "Unigram"), ("unk_id", unknown), ("vocab", pieces)])),
    ])).encode()
