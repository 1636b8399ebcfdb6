"""The UMT5 encoder of transformers and of Wan, with the same weights."""

import torch

from .case import Case, generator, randomize
from .reference import T5Encoder, UMT5Config, UMT5EncoderModel


def hugging_face_keys(weights):
    """Converts Wan's T5 keys to transformers' keys."""
    names = {
        "norm1": "layer.0.layer_norm", "norm2": "layer.1.layer_norm",
        "attn": "layer.0.SelfAttention", "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
        "ffn.fc1": "layer.1.DenseReluDense.wi_1", "ffn.fc2": "layer.1.DenseReluDense.wo",
        "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    }
    renamed = {}
    for key, value in weights.items():
        if key.startswith("blocks."):
            _, block, rest = key.split(".", 2)
            for ours, theirs in names.items():
                if rest.startswith(ours + "."):
                    key = f"encoder.block.{block}.{theirs}{rest[len(ours):]}"
        else:
            key = key.replace("token_embedding.", "shared.")
            key = key.replace("norm.", "encoder.final_layer_norm.")
        renamed[key] = value
    return renamed


def umt5(name, seed, lengths, width, d_kv, heads, layers):
    rng = generator(seed)
    config = dict(
        vocab_size=100, d_model=32, d_kv=d_kv, d_ff=64, num_layers=layers, num_heads=heads,
        relative_attention_num_buckets=32, relative_attention_max_distance=128,
        layer_norm_epsilon=1e-6, feed_forward_proj="gated-gelu",
    )
    model = randomize(T5Encoder(
        vocab=config["vocab_size"], dim=config["d_model"], dim_attn=d_kv * heads,
        dim_ffn=config["d_ff"], num_heads=heads, num_layers=layers, num_buckets=32,
        shared_pos=False), rng)
    weights = dict(model.state_dict())
    renamed = hugging_face_keys(weights)
    peer = UMT5EncoderModel(UMT5Config(**config, dropout_rate=0.0)).eval()
    missing = peer.load_state_dict(renamed, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) <= {"encoder.embed_tokens.weight"}, missing.missing_keys

    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, 100, (length,), generator=rng)
        ids[row, length - 1] = 1
        mask[row, :length] = 1
    case = Case(
        name=name,
        reference="transformers UMT5EncoderModel; streamdiffusionv2 wan_base T5Encoder",
        seed=seed,
        config=config,
        tolerance={"absolute": 1e-4, "relative": 1e-4},
        notes=[
            "hidden is the encoder's output at every position, computed with the mask; context is "
            "the same with padded positions set to zero, as the stream uses it. Padding is id 0, "
            "each text ends with id 1.",
            "Every block has its own position bias. The tanh form of GELU; no scaling by the "
            "square root of the head size.",
            "weights_hf has shared.weight; some published files repeat it as "
            "encoder.embed_tokens.weight.",
        ],
    )
    case.add("weights", weights)
    case.add("weights_hf", renamed)
    case.add("input", {"ids": ids, "mask": mask})
    hidden = model(ids, mask)
    case.agree(
        "Wan's T5Encoder and UMT5EncoderModel", hidden,
        peer(input_ids=ids, attention_mask=mask).last_hidden_state, 1e-5)
    case.add("output", {"hidden": hidden, "context": hidden * mask.unsqueeze(-1)})
    print(f"  {name}: output std {hidden.std():.2f}")
    return case


def cases():
    yield umt5("umt5_a", 5001, [24, 9, 1], 24, d_kv=8, heads=4, layers=3)
    yield umt5("umt5_b", 5002, [170], 170, d_kv=12, heads=2, layers=2)
