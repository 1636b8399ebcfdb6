"""Functions that Swan takes from PyTorch unchanged: resizing of frames, and seeded random numbers."""

import torch
import torch.nn.functional as F

from .case import Case, generator

SIZES = [((37, 53), (24, 40)), ((24, 40), (37, 53)), ((32, 24), (16, 16)), ((30, 40), (30, 20))]


def resize():
    seed = 6001
    rng = generator(seed)
    case = Case(
        name="resize_aa",
        reference="torch.nn.functional.interpolate(mode bilinear, antialias, no align_corners)",
        seed=seed,
        config={"sizes": [{"from": list(old), "to": list(new)} for old, new in SIZES]},
        tolerance={"absolute": 1e-3, "relative": 1e-6},
        notes=[
            "frame_i is [3, H, W] uint8. float_i is the resize of the frame as float32 (0 to 255). "
            "uint8_i is what StreamDiffusionV2 gets from torchvision's resize: the float32 result, "
            "rounded half to even, as uint8. native_i is PyTorch's own uint8 kernel, whose "
            "fixed-point weights may differ by one; it is not what the reference uses.",
            "uint8_i must be equal where float_i is not within 1e-3 of a half.",
        ],
    )
    for index, (old, new) in enumerate(SIZES):
        frame = torch.randint(0, 256, (3, *old), generator=rng, dtype=torch.uint8)

        def scaled(image):
            return F.interpolate(
                image.unsqueeze(0), size=new, mode="bilinear", align_corners=False, antialias=True
            )[0]

        exact = scaled(frame.float())
        native = scaled(frame)
        case.add("input", {f"frame_{index}": frame})
        case.add("output", {
            f"float_{index}": exact,
            f"uint8_{index}": torch.round(exact).to(torch.uint8),
            f"native_{index}": native,
        })
        case.agree(f"native uint8 and float {index}", native, exact, 1.01)
    return case


def random_numbers():
    seeds = [0, 1, 42, 2**31, 1234567890123]
    case = Case(
        name="generator",
        reference="torch.Generator (CPU)",
        seed=0,
        config={"seeds": seeds, "sizes": [1, 15, 16, 17, 100]},
        tolerance={"absolute": 4e-6, "relative": 4e-6},
        notes=[
            "Every tensor comes from a fresh generator with the seed in its name, except "
            "sequence_*: three draws of one generator, randn(15), rand(3), randn(17), joined.",
            "Below 16 elements normals are drawn in pairs one after another; from 16 on in blocks, "
            "and a tail that is not a multiple of 16 is drawn anew. bfloat16 draws differ from "
            "rounded float32 ones.",
            "rand and randint must be equal; normals may differ in the last bit between "
            "instruction sets.",
        ],
    )
    for seed in seeds:
        for size in case.config["sizes"]:
            values = torch.randn(size, generator=generator(seed))
            case.add("output", {f"randn_{seed}_{size}": values})
        rng = generator(seed)
        sequence = [
            torch.randn(15, generator=rng), torch.rand(3, generator=rng),
            torch.randn(17, generator=rng),
        ]
        case.add("output", {
            f"rand_{seed}": torch.rand(33, generator=generator(seed)),
            f"randint_{seed}": torch.randint(0, 1000, (33,), generator=generator(seed)),
            f"randn_bfloat16_{seed}": torch.randn(
                33, generator=generator(seed), dtype=torch.bfloat16),
            f"randn_float64_{seed}": torch.randn(
                33, generator=generator(seed), dtype=torch.float64),
            f"sequence_{seed}": torch.cat(sequence),
        })
    case.add("output", {"randn_42_1000": torch.randn(1000, generator=generator(42))})
    return case


def cases():
    yield resize()
    yield random_numbers()
