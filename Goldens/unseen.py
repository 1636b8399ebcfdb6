"""Writes goldens of distillations with random configurations, for `UnseenTests`.

    SWAN_CAUSVID=… SWAN_SELF_FORCING=… python unseen.py FOLDER [SEED [COUNT]]
    SWAN_UNSEEN=FOLDER swift test --filter UnseenTests
"""

import contextlib
import io
import os
import pathlib
import random
import sys

sys.dont_write_bytecode = True

import torch  # noqa: E402

from cases import distillation, self_forcing  # noqa: E402
from cases.case import Case, generator, normal  # noqa: E402

NETWORK = distillation.NETWORK


def texts(numbers, rows, seed):
    """Prompts and a negative prompt of random lengths."""
    rng, width = generator(seed), NETWORK["text_dim"]
    given = {name: torch.zeros(rows, NETWORK["text_len"], width) for name in ("prompt", "negative")}
    for row in range(rows):
        length = numbers.randint(1, NETWORK["text_len"])
        given["prompt"][row, :length] = normal(rng, length, width)
    length = numbers.randint(1, NETWORK["text_len"])
    given["negative"][:, :length] = normal(rng, length, width)
    return given


def steps(numbers, ends_clean):
    found = sorted(numbers.sample(range(40, 1001), numbers.randint(1, 4)), reverse=True)
    return found + [0] * ends_clean


def fits(shape):
    """Whether the reference can pad this number of tokens: it fails if there is nothing to pad."""
    return shape[1] * shape[3] * shape[4] // 4 % 128 != 0


def matching(numbers):
    causal = numbers.random() < 0.75
    block = numbers.choice([1, 2, 3]) if causal else 1
    frames = block * numbers.choice([1, 2, 3] if block > 1 else [1, 3, 5, 7])
    shape = [numbers.choice([1, 2, 3]), frames, 4, numbers.choice([2, 4, 6, 10]), numbers.choice([2, 6, 10, 14])]
    config = dict(
        steps=steps(numbers, causal and numbers.random() < 0.6), w=round(numbers.uniform(0, 7), 2),
        causal=causal, simulated=not causal and numbers.random() < 0.5, block=block,
        warp=numbers.random() < 0.5, shift=numbers.choice([1.0, 3.0, 5.0, 8.0]),
        score=causal and numbers.random() < 0.4)
    return config, shape


def rollout(numbers):
    block = numbers.choice([1, 3, 7])
    shape = [1, 21, 4, numbers.choice([2, 4, 6]), numbers.choice([2, 6, 10])]
    config = dict(
        steps=steps(numbers, False), warp=numbers.random() < 0.6, block=block,
        w=round(numbers.uniform(0, 5), 2), wf=numbers.choice([0, 0.5, 1.5]), same=numbers.random() < 0.6,
        ts=numbers.random() < 0.5, ts_max=numbers.random() < 0.5, last=numbers.random() < 0.2,
        context=numbers.choice([0, 0, 50, 300]), frames=21 + block * numbers.choice([0, 0, 1, 2]))
    if numbers.random() < 0.25:
        config["sid"] = round(numbers.uniform(0, 1.2), 2)
    return config, shape


def write(folder, name, module, config, shape, given, seed, found):
    golden = Case(
        name=name, reference="", seed=seed, config={**config, "shape": shape},
        tolerance=distillation.TOLERANCE)
    golden.add("input", given)
    golden.add("output", found)
    golden.add("gradients/generator", distillation.gradients(module.generator))
    golden.add("gradients/critic", distillation.gradients(module.fake_score))
    golden.write(folder)
    print(name, config, shape, f"{found['generator_loss']:.6f} {found['critic_loss']:.6f}", flush=True)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    quiet = contextlib.redirect_stderr(io.StringIO())
    causvid = distillation.reference(os.environ["SWAN_CAUSVID"])
    with quiet:
        for index in range(count):
            config, shape = matching(numbers)
            while not fits(shape):
                config, shape = matching(numbers)
            distillation.SHAPE = shape
            seed = numbers.randint(10_000, 99_999)
            given = texts(numbers, shape[0], seed)
            given["latents"] = normal(generator(seed + 5), *shape)
            with contextlib.redirect_stdout(io.StringIO()):
                module = distillation.distillation(causvid, config)
                found = distillation.losses(module, given, seed + 1)
            write(folder, f"unseen_dmd_{index}", module, config, shape, given, seed, found)
    forcing = self_forcing.reference(os.environ["SWAN_SELF_FORCING"])
    with quiet:
        for index in range(count):
            config, shape = rollout(numbers)
            self_forcing.SHAPE, self_forcing.TOKENS = shape, shape[3] * shape[4] // 4
            seed = numbers.randint(10_000, 99_999)
            given = texts(numbers, 1, seed)
            module = self_forcing.distillation(forcing, config)
            found = self_forcing.losses(module, given, seed + 1)
            given |= {"decoder": module.vae.decoder, "encoder": module.vae.encoder}
            write(folder, f"unseen_rollout_{index}", module, config, shape, given, seed, found)


if __name__ == "__main__":
    main()
