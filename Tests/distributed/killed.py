"""Kills distillations at random moments, resumes them, and compares the results: the same bits.

    Tests/distributed/killed.py [--kills 20] [--seed 1]
"""
import argparse
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import ranks
from test_distillation import MODEL, write_latents

#: The longest that a run may take on a busy machine, in seconds.
LIMIT = 150
#: The keys of each method besides those that all share.
METHODS = {
    "ode": {"denoising_step_list": [900, 400, 0], "data_path": "states.safetensors"},
    "dmd": {"denoising_step_list": [900, 400, 0], "data_path": "latents.safetensors", "ema_weight": 0.5},
    "self_forcing": {
        "denoising_step_list": [1000, 500], "backward_simulation": True, "data_path": "prompts.txt",
        "gradient_checkpointing": True, "num_training_frames": 6, "ema_weight": 0.9, "ema_start_step": 2,
    },
    "sid": {"denoising_step_list": [1000, 500], "backward_simulation": True, "data_path": "prompts.txt"},
}
SHARED = {
    "model_path": str(MODEL), "generator_name": "causal_wan", "generator_task": "causal_video",
    "real_task_type": "bidirectional_video", "fake_task_type": "bidirectional_video",
    "image_or_video_shape": [1, 4, 48, 4, 4], "lr": 1.0e-4, "num_frame_per_block": 2, "num_kv_cache": 4,
    "num_sink_tokens": 2, "real_guidance_scale": 1.5, "backward_simulation": False,
    "dfake_gen_update_ratio": 2, "seed": 3, "negative_prompt": "blurry", "log_iters": 1,
}


class Distillation:
    """A method's settings and data in a folder, and its runs."""

    def __init__(self, folder, method, steps):
        self.folder, self.steps = folder, steps
        keys = {"distillation_loss": method, **SHARED, **METHODS[method]}
        self.settings = folder / "settings.yaml"
        self.settings.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        (folder / "prompts.txt").write_text("sepia\nnight\na pencil sketch\n")
        write_latents(folder / "latents.safetensors")
        write_latents(folder / "states.safetensors", states=3)

    def command(self, output):
        return [ranks.SWAN, "train", str(self.settings), "--output", str(self.folder / output), "--data",
                str(self.folder), "--device", "cpu", "--max-steps", str(self.steps), "--progress", "none",
                "--no-visualize", "--resume"]

    def run(self, output):
        began = time.monotonic()
        result = subprocess.run(
            self.command(output), env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False)
        if result.returncode != 0:
            raise AssertionError(f"{self.command(output)}: {result.stderr}")
        return time.monotonic() - began

    def kill(self, output, seconds):
        """Starts or continues a run and kills it after a time; returns whether it was still running."""
        with subprocess.Popen(
                self.command(output), env=ranks.clean(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True) as process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            if code != 0:
                raise AssertionError(f"{self.command(output)}: {process.stderr.read()}")
            return False

    def results(self, output):
        """What must not depend on interruptions: the student, its last state, and model.pt."""
        folder = self.folder / output
        found = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and not path.is_symlink() and re.search(r"safetensors$|model\.pt$|\.yaml$|\.json$", name):
                found[name] = path.read_bytes()
        return found


def check(test, method, kills, seed, steps):
    """Kills a run at random moments; returns how many kills there were."""
    numbers = random.Random(f"{seed} {method}")
    with tempfile.TemporaryDirectory() as name:
        job = Distillation(pathlib.Path(name), method, steps)
        duration = job.run("whole")
        # A moment before the first step, too; a run that ends before its moment begins anew.
        count, number = 0, 0
        while count < kills:
            number += 1
            output = f"killed{number}"
            while count < kills and job.kill(output, numbers.uniform(0, duration)):
                count += 1
            job.run(output)
            expected, found = job.results("whole"), job.results(output)
            test.assertEqual(expected.keys(), found.keys())
            test.assertTrue(any(name.startswith("transformer/") for name in expected))
            test.assertIn(f"checkpoint_model_{steps:06d}/model.pt", expected)
            different = [name for name in expected if expected[name] != found[name]]
            test.assertEqual(different, [], f"after {count} kills, seed {seed}")
            test.assertLess(number, 10 * kills, "runs end before they are killed")
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--method", choices=METHODS, action="append")
    options = parser.parse_args()
    test = unittest.TestCase()
    for method in options.method or METHODS:
        count = check(test, method, options.kills, options.seed, options.steps)
        print(f"{method}: the same bits after {count} kills", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
