"""A student for pictures: a PyTorch module with the keys of WanLiteStudent, and its gradients."""

import math

import torch
from torch import nn

from .case import Case, generator, normal, randomize

# Width, blocks, heads, channels, text width; then rows, height, width, text lengths.
CONFIGS = {
    "a": ((24, 2, 3, 4, 10), (3, 5, 7, (4, 1, 6))),
    "b": ((12, 1, 1, 16, 7), (1, 1, 1, (3,))),
    "rope": ((32, 2, 2, 6, 9), (2, 4, 3, (5, 2))),
}


def rotations(height, width, size):
    """Wan's rotations of one frame, [H W, 1, D/2]: frame 0, then the row, then the column."""
    spatial = 2 * (size // 6)
    rates = 10_000 ** -(torch.arange(0, spatial, 2, dtype=torch.float64) / spatial)
    rows = torch.arange(height)[:, None, None] * rates
    columns = torch.arange(width)[None, :, None] * rates
    shape = (height, width, spatial // 2)
    still = torch.zeros(height, width, (size - 2 * spatial) // 2, dtype=torch.float64)
    angles = torch.cat([still, rows.expand(shape), columns.expand(shape)], 2)
    return torch.polar(torch.ones_like(angles), angles).reshape(height * width, 1, -1)


def rotate(x, turns):
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))

    def forward(self, x, context, turns):
        x = x + context
        normed = self.norm1(x)
        x = x + self.attend(normed, turns)
        return x + self.mlp(self.norm2(x))

    def attend(self, x, turns):
        if turns is None:
            return self.attn(x, x, x, need_weights=False)[0]
        parts = nn.functional.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts.chunk(3, -1))
        q, k = rotate(q, turns), rotate(k, turns)
        mixed = nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        )
        return self.attn.out_proj(mixed.transpose(1, 2).flatten(2))


class Student(nn.Module):
    def __init__(self, dim, depth, heads, channels, text, rope=False):
        super().__init__()
        self.dim, self.head = dim, dim // heads if rope else None
        self.conv_in = nn.Conv2d(channels, dim, 3, padding=1)
        self.conv_out = nn.Conv2d(dim, channels, 3, padding=1)
        self.time_embed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))
        self.text_proj = nn.Linear(text, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))

    def forward(self, x, timestep, text):
        half = self.dim // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / (half - 1))
        angles = timestep.double()[:, None] * rates
        time = self.time_embed(torch.cat([angles.sin(), angles.cos()], 1).to(x.dtype))
        context = (time + self.text_proj(text))[:, None]
        tokens = self.conv_in(x)
        shape = tokens.shape
        turns = rotations(*shape[2:], self.head) if self.head else None
        tokens = tokens.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, context, turns)
        return self.conv_out(tokens.transpose(1, 2).reshape(shape))


def cases():
    for number, (name, (sizes, (rows, height, width, lengths))) in enumerate(CONFIGS.items()):
        seed = 6301 + number
        rng = generator(seed)
        dim, depth, heads, channels, text_dim = sizes
        student = randomize(Student(*sizes, rope=name == "rope"), rng).requires_grad_(True)
        latents = normal(rng, rows, channels, height, width)
        timesteps = torch.rand(rows, generator=rng) * 1000
        text = normal(rng, rows, max(lengths), text_dim)
        for row, length in enumerate(lengths):
            text[row, length:] = 0
        target = normal(rng, rows, channels, height, width)
        case = Case(
            name=f"lite_student_{name}",
            reference="PyTorch modules with the keys of WanLiteStudent",
            seed=seed,
            config={
                "hidden_size": dim, "depth": depth, "num_heads": heads, "num_channels": channels,
                "text_encoder_output_dim": text_dim, "text_max_length": 77,
                "positions": "rope" if name == "rope" else "none",
            },
            tolerance={"absolute": 2e-5, "relative": 2e-5},
            notes=[
                "text is [B, L, D] with zeros after lengths; padded_* see its mean over all rows, as "
                "published, flow and loss see the mean over each prompt's own tokens.",
                "gradient_KEY is that of loss, the mean squared error of flow against target.",
            ],
        )
        case.add("weights", student.state_dict())
        case.add("input", {
            "latents": latents, "timesteps": timesteps, "text": text, "target": target,
            "lengths": torch.tensor(lengths),
        })
        with torch.enable_grad():
            pooled = text.sum(1) / torch.tensor(lengths)[:, None]
            flow = student(latents, timesteps, pooled)
            loss = (flow - target).pow(2).mean()
            loss.backward()
        padded = student(latents, timesteps, text.mean(1))
        case.add("output", {"flow": flow, "loss": loss, "padded_flow": padded})
        case.add("output", {f"gradient_{key}": p.grad for key, p in student.named_parameters()})
        yield case
