"""Wan2.1's own modules, if SWAN_WAN21 is set to a checkout of Wan-Video/Wan2.1.

They are not published on a registry. Each module is imported without its package, whose other modules
need CUDA and unused packages. flash-attn is replaced by the same computation in float32.
"""

import importlib
import os
import pathlib
import sys
import types

import torch.nn.functional as F

from . import reference  # noqa: F401  (empty modules in place of what only reads files)


def flash_attention(q, k, v, k_lens=None, **_):
    """softmax(q k^T / sqrt(D)) v for [B, L, N, D]; no case here has keys of different lengths."""
    assert k_lens is None or (k_lens == k.shape[1]).all()
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def stand_in(name):
    """A stand-in for an unused module, from which any name can be imported."""
    bare = types.ModuleType(name)
    bare.__getattr__ = lambda _: object
    sys.modules[name] = bare


def module(name):
    """`wan.<name>` of the checkout; None without a checkout."""
    root = os.environ.get("SWAN_WAN21")
    if root is None:
        return None
    root = pathlib.Path(root)
    for package in ("wan", "wan.modules", "wan.utils"):
        if package not in sys.modules:
            bare = types.ModuleType(package)
            bare.__path__ = [str(root.joinpath(*package.split(".")))]
            sys.modules[package] = bare
    for absent in ("modules.tokenizers", "modules.vae", "text2video", "utils.vace_processor"):
        stand_in(f"wan.{absent}")
    attention = types.ModuleType("wan.modules.attention")
    attention.flash_attention = flash_attention
    sys.modules["wan.modules.attention"] = attention
    return importlib.import_module(f"wan.{name}")
