"""Writes the small .pth files for the tests of the checkpoint reader.

    python pth.py

Needs torch as pinned in requirements.txt. Values count up from zero, so that tests know them without a
second file.
"""

import collections
import os
import pathlib

import torch

FOLDER = pathlib.Path(__file__).resolve().parent
DTYPES = [
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.bool, torch.complex64, torch.complex128,
    torch.float8_e5m2, torch.float8_e4m3fn,
]  # fmt: skip


class Shell:
    """Runs a command when unpickled by Python."""

    def __reduce__(self):
        return os.system, ("echo this must not run > pth_was_run",)


def counted(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def state_dict():
    """The state of a module: an OrderedDict with attributes, with every memory layout of a tensor."""
    module = torch.nn.Linear(2, 3)
    with torch.no_grad():
        module.weight.copy_(counted(3, 2))
        module.bias.copy_(counted(3))
    weights = module.state_dict()
    weights["parameter"] = torch.nn.Parameter(counted(4))
    table = counted(4, 6)
    weights["transposed"] = table.t()
    weights["column"] = table[:, 2]
    weights["corner"] = table[1:3, 2:4]
    weights["expanded"] = counted(3, 1).expand(3, 2)
    weights["channels_last"] = counted(1, 2, 2, 2).contiguous(memory_format=torch.channels_last)
    weights["scalar"] = torch.tensor(7.0)
    weights["empty"] = torch.empty(0, 4)
    for dtype in DTYPES:
        weights[f"dtype.{str(dtype).removeprefix('torch.')}"] = counted(3).to(dtype)
    return weights


def nested():
    """The file of a typical training script: weights and other values."""
    weights = {"model.a.weight": counted(2, 2), "model.a.bias": counted(2)}
    average = collections.OrderedDict((k, v + 1) for k, v in weights.items())
    return {
        "generator": weights,
        "generator_ema": average,
        "critic": {"model.a.weight": counted(2, 2)},
        "step": 12000,
        "seed": 2**64 - 1,
        "least": -(2**63),
        "rate": 1.5e-6,
        "name": "Käse",
        "done": True,
        "none": None,
        "betas": (0.9, 0.999),
        "history": [1, [2, [3]]],
        "size": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        0: {1: "one"},
    }


def main():
    torch.save(state_dict(), FOLDER / "pth_state_dict.pth")
    torch.save(nested(), FOLDER / "pth_nested.pth")
    torch.save(nested(), FOLDER / "pth_nested_protocol4.pth", pickle_protocol=4)
    torch.save({"weight": counted(2), "x": Shell()}, FOLDER / "pth_os_system.pth")
    torch.save(
        {"weight": counted(2)}, FOLDER / "pth_legacy.pth", _use_new_zipfile_serialization=False
    )


if __name__ == "__main__":
    main()
