"""GGUF files made of safetensors, with one number, text or tensor changed."""
import struct

import containers
import hostile

FORMATS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 14: (256, 210), 20: (32, 18)}
TYPES = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20, 22, 23, 24, 28, 30, 31, 255, 2**31, 2**32 - 1]
COUNTS = [0, 1, 2, 31, 33, 255, 2**31, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def text(value):
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return [("Q", len(data)), ("", data)]


def changed(fields, random):
    """The fields, one of them changed: pairs of a format of `struct` and a value, or of "" and bytes."""
    at = random.randrange(len(fields))
    kind, value = fields[at]
    if kind == "":
        value = random.choice([b"", value[::-1], value + b"\x1b[31m", b"\xff" * len(value), value * 300])
    else:
        size = 8 * struct.calcsize("<" + kind)
        value = random.choice([*COUNTS, *TYPES, value + 1, max(0, value - 1), value * 2]) % 2**size
    return [*fields[:at], (kind, value), *fields[at + 1:]]


def make(data, random):
    """A GGUF file with the tensors of a safetensors file of float32, changed in one to four places."""
    header, body = containers.read_safetensors(data)
    values = [("general.architecture", [("I", 8), *text("wan")]), ("general.alignment", [("I", 4), ("I", 32)])]
    tensors, blobs, offset = [], [], 0
    for key, entry in header:
        entry = dict(entry)
        if key == "__metadata__" or entry["dtype"] != "F32":
            continue
        shape, (start, end) = list(entry["shape"]), entry["data_offsets"]
        kind = random.choice(list(FORMATS)) if len(shape) > 1 else 0
        elements, size = FORMATS[kind]
        if not shape or shape[-1] % elements:
            kind, (elements, size) = 0, FORMATS[0]
        count = containers.product(shape) // elements * size
        blob = body[start:end] if kind == 0 else bytes(random.randrange(60) for _ in range(32)) * (count // 32 + 1)
        if random.randrange(8) == 0:
            values.append((f"comfy.gguf.orig_shape.{key}", shape_value(containers.changed_shape(shape, random))))
        sizes = [("Q", number) for number in reversed(shape)]
        tensors.append([*text(key), ("I", len(shape)), *sizes, ("I", kind), ("Q", offset)])
        blobs.append(blob[:count] + bytes(-count % 32))
        offset += len(blobs[-1])
    fields = [("", b"GGUF"), ("I", random.choice([2, 3])), ("Q", len(tensors)), ("Q", len(values))]
    for key, value in values:
        fields += [*text(key), *value]
    for tensor in tensors:
        fields += tensor
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        fields = changed(fields, random)
    start = b"".join(value if kind == "" else struct.pack("<" + kind, value) for kind, value in fields)
    whole = start + bytes(-len(start) % 32) + b"".join(blobs)
    return hostile.change_bytes(whole, random) if random.randrange(5) == 0 else whole


def shape_value(shape):
    return [("I", 9), ("I", 5), ("Q", len(shape)), *[("I", size % 2**32) for size in shape]]
