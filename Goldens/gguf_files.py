"""Writes the GGUF file for the tests of the reader, and what its weights are.

    python gguf_files.py

Needs numpy and gguf (0.19.0), whose writer, quantization and dequantization are the reference. The
package quantizes to some of the formats only; of the others, blocks have random bits and plain scales.
"""

import json
import pathlib
import struct

import gguf
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
QUANTIZED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# The offsets of the float16 numbers in a block.
RANDOM = {
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip
ROWS, COLUMNS = 3, 512


def random_blocks(generator, kind, scales):
    """Rows of blocks with random bits."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = ROWS * COLUMNS // elements
    blocks = generator.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in scales:
        numbers = generator.uniform(-0.05, 0.05, (count, 1)).astype(np.float16)
        blocks[:, offset : offset + 2] = numbers.view(np.uint8)
    return blocks.reshape(ROWS, -1)


def main():
    generator = np.random.default_rng(7)
    writer = gguf.GGUFWriter(FOLDER / "gguf_formats.gguf", "wan")
    writer.add_custom_alignment(64)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    values = {}

    def add(key, data, kind, shape=None):
        writer.add_tensor(key, data, raw_dtype=kind)
        wanted = gguf.quants.dequantize(data, kind).astype(np.float32)
        values[key] = wanted.reshape(shape or wanted.shape)

    table = generator.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    for name in ["F32", "F16", "BF16"] + QUANTIZED:
        kind = gguf.GGMLQuantizationType[name]
        add(name, gguf.quants.quantize(table, kind), kind)
    for name, scales in RANDOM.items():
        kind = gguf.GGMLQuantizationType[name]
        add(name, random_blocks(generator, kind, scales), kind)
    # As ComfyUI's converter stores what ggml has no shape for: beyond four dimensions, or rows that
    # are not whole blocks.
    patches = generator.standard_normal((4, 2, 1, 2, 2)).astype(np.float32)
    add("five", patches, gguf.GGMLQuantizationType.F32)
    for key, kind, shape in [("flat", "F32", (4, 2, 1, 2, 4)), ("narrow", "Q8_0", (16, 48))]:
        data = generator.standard_normal(shape).astype(np.float32).reshape(-1, 32)
        writer.add_array(f"comfy.gguf.orig_shape.{key}", shape)
        kind = gguf.GGMLQuantizationType[kind]
        add(key, gguf.quants.quantize(data, kind), kind, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save(FOLDER / "gguf_formats.safetensors", values)


def save(path, tensors):
    """Writes float32 tensors as safetensors."""
    header, offset = {}, 0
    for key in sorted(tensors):
        size = tensors[key].nbytes
        header[key] = {
            "dtype": "F32",
            "shape": list(tensors[key].shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensors[key].tobytes() for key in sorted(tensors))
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
