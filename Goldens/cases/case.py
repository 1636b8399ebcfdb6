"""Golden cases, seeded random weights, and a byte-for-byte reproducible file format."""

import hashlib
import json
import math
import struct
from dataclasses import dataclass, field

import torch

DTYPE_NAMES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass
class Case:
    """One golden file: tensors under `weights*/`, `input/` and `output/`, and their origin."""

    name: str
    reference: str
    seed: int
    config: dict
    tolerance: dict
    notes: list = field(default_factory=list)
    agreement: dict = field(default_factory=dict)
    trace: dict | None = None
    tensors: dict = field(default_factory=dict)

    def add(self, prefix, tensors):
        """Stores a mapping of names to tensors under `prefix/`."""
        for name, tensor in tensors.items():
            key = f"{prefix}/{name}"
            assert key not in self.tensors, key
            tensor = tensor.detach()
            if tensor.is_floating_point():
                assert torch.isfinite(tensor).all(), f"{self.name}: {key} is not finite"
            self.tensors[key] = tensor.contiguous().clone()

    def agree(self, what, left, right, limit):
        """Records the largest difference between two references, and fails if it exceeds `limit`."""
        assert left.shape == right.shape, (self.name, what, left.shape, right.shape)
        error = (left.double() - right.double()).abs().max().item()
        self.agreement[what] = float(f"{error:.2g}")
        print(f"  {self.name}: {what}: max error {error:.2e}")
        assert error <= limit, f"{self.name}: {what}: {error} > {limit}"

    def write(self, folder):
        """Writes `<name>.safetensors` and returns its entry in the manifest."""
        metadata = {
            "config": json.dumps(self.config, sort_keys=True),
            "reference": self.reference,
            "seed": str(self.seed),
            "tolerance": json.dumps(self.tolerance, sort_keys=True),
        }
        if self.trace is not None:
            metadata["trace"] = json.dumps(self.trace, sort_keys=True)
        data = serialized(self.tensors, metadata)
        path = folder / f"{self.name}.safetensors"
        path.write_bytes(data)
        entry = {
            "file": path.name,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "reference": self.reference,
            "seed": self.seed,
            "config": self.config,
            "tolerance": self.tolerance,
        }
        if self.agreement:
            entry["agreement"] = self.agreement
        if self.notes:
            entry["notes"] = self.notes
        return entry


def serialized(tensors, metadata):
    """The safetensors encoding with sorted keys (the library's own writer shuffles metadata)."""
    header, chunks, offset = {"__metadata__": metadata}, [], 0
    # Writing larger elements first keeps every tensor aligned to its element size.
    for key in sorted(tensors, key=lambda key: (-tensors[key].element_size(), key)):
        tensor = tensors[key]
        chunk = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        header[key] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(chunk)],
        }
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def generator(seed):
    """A CPU generator with `seed`."""
    return torch.Generator().manual_seed(seed)


def normal(rng, *shape, scale=1.0, dtype=torch.float32):
    """Seeded normal random numbers of `shape`, multiplied by `scale`."""
    return torch.randn(*shape, generator=rng, dtype=dtype) * scale


def randomize(module, rng):
    """Gives every parameter a value that differs from its default, so that tests notice its absence.

    Matrices keep the scale of their input, norm weights are around one, biases and modulations are
    never zero.
    """
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            leaf = name.rsplit(".", 1)[-1]
            noise = normal(rng, *parameter.shape)
            if "modulation" in leaf or "scale_shift_table" in leaf:
                parameter.copy_(noise * 0.3)
            elif leaf == "bias":
                parameter.copy_(noise * 0.1)
            elif leaf == "gamma" or "norm" in name:
                parameter.copy_(1 + noise * 0.2)
            elif "pos_embedding" in name or "relative_attention_bias" in name:
                parameter.copy_(noise * 0.7)
            elif "token_embedding" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise / math.sqrt(parameter[0].numel()))
    return module.eval().requires_grad_(False)
