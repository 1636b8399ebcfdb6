"""Makes the reference packages importable and runnable on a CPU, without changing their mathematics.

- `torch.compile` is off, so the block-causal training form runs PyTorch's eager flex attention.
- flash-attn is absent, so both attention paths of StreamDiffusionV2 take their own fallback, which
  on a CPU computes `scaled_dot_product_attention` in float32 (its bfloat16 casts apply to GPUs).
- torchvision and PyAV, which one entry point imports for reading files, are replaced by empty
  modules; neither is used.
"""

import os
import sys
import types
import warnings

os.environ["TORCHDYNAMO_DISABLE"] = "1"
warnings.filterwarnings("ignore")

# ruff: noqa: E402
import diffusers.utils  # noqa: F401  (before the empty torchvision, whose version it looks up)
import transformers  # noqa: F401
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.loaders.single_file_utils import (
    convert_wan_transformer_to_diffusers,
    convert_wan_vae_to_diffusers,
)
from diffusers.utils import export_to_video  # noqa: F401
from transformers import UMT5Config, UMT5EncoderModel

for absent in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "av"):
    module = sys.modules.setdefault(absent, types.ModuleType(absent))
    parent, _, child = absent.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)

import models.wan.causal_stream_inference as stream_inference
import models.wan.wan_wrapper as wan_wrapper
from models.wan.causal_model import CausalWanModel
from models.wan.flow_match import FlowMatchScheduler
from models.wan.wan_base.modules.model import WanModel
from models.wan.wan_base.modules.t5 import T5Encoder
from models.wan.wan_base.modules.vae import WanVAE_
from streamv2v.inference import compute_noise_scale_and_step

__all__ = [
    "AutoencoderKLWan",
    "CausalWanModel",
    "FlowMatchScheduler",
    "T5Encoder",
    "UMT5Config",
    "UMT5EncoderModel",
    "WanModel",
    "WanTransformer3DModel",
    "WanVAE_",
    "compute_noise_scale_and_step",
    "convert_wan_transformer_to_diffusers",
    "convert_wan_vae_to_diffusers",
    "stream_inference",
    "wan_wrapper",
]
