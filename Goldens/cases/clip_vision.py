"""The image encoder of image-to-video: CLIP's vision transformer without its last block."""

import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from . import original
from .case import Case, generator, normal, randomize

MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]


def wans_names(weights, layers):
    """Converts transformers' weights to the keys of Wan2.1's checkpoint."""
    model = "vision_model."
    names = {
        "patch_embedding.weight": weights[model + "embeddings.patch_embedding.weight"],
        "cls_embedding": weights[model + "embeddings.class_embedding"][None, None],
        "pos_embedding": weights[model + "embeddings.position_embedding.weight"][None],
        "head": weights["visual_projection.weight"].T,
    }
    for leaf in ("weight", "bias"):
        names[f"pre_norm.{leaf}"] = weights[f"{model}pre_layrnorm.{leaf}"]
        names[f"post_norm.{leaf}"] = weights[f"{model}post_layernorm.{leaf}"]
        for layer in range(layers):
            ours, theirs = f"transformer.{layer}.", f"{model}encoder.layers.{layer}."
            names[f"{ours}attn.to_qkv.{leaf}"] = torch.cat(
                [weights[f"{theirs}self_attn.{name}_proj.{leaf}"] for name in "qkv"])
            for wans, other in [
                ("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("mlp.0", "mlp.fc1"),
                ("mlp.2", "mlp.fc2"), ("attn.proj", "self_attn.out_proj"),
            ]:
                names[f"{ours}{wans}.{leaf}"] = weights[f"{theirs}{other}.{leaf}"]
    return {f"visual.{name}": tensor for name, tensor in names.items()}


def case(name, seed, sizes, **changes):
    config = dict(
        hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2,
        image_size=56, patch_size=14, layer_norm_eps=1e-5, hidden_act="gelu", projection_dim=24,
    )
    config.update(changes)
    rng = generator(seed)
    model = randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), rng)
    for key, parameter in model.named_parameters():
        if "class_embedding" in key or "position_embedding" in key:
            parameter.copy_(normal(rng, *parameter.shape, scale=0.5))
    weights = dict(model.state_dict())
    weights = {
        key if key.startswith(("vision_model.", "visual_projection.")) else f"vision_model.{key}":
        value for key, value in weights.items()
    }
    renamed = wans_names(weights, config["num_hidden_layers"])
    result = Case(
        name=name,
        reference="transformers CLIPVisionModelWithProjection; Wan2.1 wan/modules/clip.py",
        seed=seed,
        config=config,
        tolerance={"absolute": 1e-5, "relative": 1e-5},
        notes=[
            "image_i is [3, H, W] with values -1 ... 1; pixels are all of them resized by bicubic "
            "interpolation without antialiasing and normalised; tokens are what goes into the last "
            "block (hidden_states[-2]).",
            "weights_hf are under the names of published files, weights under those of Wan2.1's "
            "checkpoint.",
        ],
    )
    size = (config["image_size"],) * 2
    images = [torch.rand(3, *shape, generator=rng) * 2 - 1 for shape in sizes]
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    pixels = torch.stack([
        (F.interpolate(image[None], size=size, mode="bicubic", align_corners=False)[0] * 0.5 + 0.5
         - mean) / deviation
        for image in images
    ])
    tokens = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
    if module := original.module("modules.clip"):
        own = module.VisionTransformer(
            image_size=config["image_size"], patch_size=config["patch_size"],
            dim=config["hidden_size"], mlp_ratio=4, out_dim=config["projection_dim"],
            num_heads=config["num_attention_heads"], num_layers=config["num_hidden_layers"],
            pool_type="token", pre_norm=True, post_norm=False, activation=config["hidden_act"],
            norm_eps=config["layer_norm_eps"])
        own.load_state_dict(
            {key.removeprefix("visual."): value for key, value in renamed.items()}, strict=True)
        result.agree(
            "transformers and Wan2.1", tokens, own.eval()(pixels, use_31_block=True), 2e-6)
    result.add("weights", renamed)
    result.add("weights_hf", weights)
    result.add("input", {f"image_{index}": image for index, image in enumerate(images)})
    result.add("output", {"pixels": pixels, "tokens": tokens})
    print(f"  {name}: output std {tokens.std():.2f}")
    return result


def cases():
    yield case("clip_vision_a", 2301, [(37, 53), (70, 56), (112, 31)])
    yield case(
        "clip_vision_b", 2302, [(30, 30), (9, 61)], hidden_size=36, intermediate_size=144,
        num_attention_heads=3, num_hidden_layers=2, image_size=30, patch_size=7,
        hidden_act="quick_gelu", layer_norm_eps=1e-2)
