"""`swan train` with a fine-tuning: the same bits over several ranks, an end for every failure."""
import json
import pathlib
import subprocess
import tempfile
import unittest

import ranks
from test_distillation import MODEL, write_latents

LIMIT = 100


class FineTuningOverRanks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        write_latents(self.folder / "latents.safetensors")

    def train(self, size, output, *options, steps=3, **changes):
        keys = {
            "fine_tuning": "lora", "model_path": str(MODEL), "data": ["latents.safetensors"],
            "rank": 4, "lr": 1.0e-3, "seed": 3, "held_out_rows": 1, **changes,
        }
        path = self.folder / f"{output}.yaml"
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        command = [ranks.SWAN, "train", str(path), "--output", str(self.folder / output), "--data",
                   str(self.folder), "--device", "cpu", "--max-steps", str(steps), "--progress", "none",
                   *options]
        if size > 1:
            command[1:1] = ["launch", "--nproc", str(size), "--"]
        return subprocess.run(
            command, env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False)

    def check(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)

    def lora(self, output):
        return (self.folder / output / "lora.safetensors").read_bytes()

    def test_ranks_train_the_same_lora(self):
        self.check(self.train(1, "one", gradient_accumulation_steps=2))
        self.check(self.train(2, "two"))
        self.assertEqual(self.lora("one"), self.lora("two"))
        self.check(self.train(2, "begun", steps=2))
        again = self.train(2, "begun", "--resume", steps=3)
        self.check(again)
        self.assertEqual(self.lora("begun"), self.lora("one"))

    def test_a_lora_streams_and_converts(self):
        self.check(self.train(1, "one", steps=2))
        lora = self.folder / "one/lora.safetensors"
        video = ranks.ROOT / ".deps/media/bikes.mp4"
        outputs = []
        for number, options in enumerate([(), ("--lora", f"{lora}=0"), ("--lora", f"{lora}=40")]):
            output = self.folder / f"{number}.y4m"
            self.check(subprocess.run(
                [ranks.SWAN, "stream", str(video), "--prompt", "sepia", "--max-frames", "5", "--width", "64",
                 "--height", "64", "--device", "cpu", "--progress", "none", "-o", str(output), *options],
                env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False))
            outputs.append(output.read_bytes())
        self.assertEqual(outputs[0], outputs[1])
        self.assertNotEqual(outputs[0], outputs[2])
        peft = self.folder / "peft.safetensors"
        self.check(subprocess.run(
            [ranks.SWAN, "models", "convert", str(lora), str(peft), "--lora", "peft"],
            env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False))
        self.assertIn(b"transformer.blocks.0.attn1.to_q.lora_A.weight", peft.read_bytes())

    def test_a_failure_ends_all(self):
        result = self.train(2, "wrong", targets=["to_z"])
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("to_z", result.stderr)
        result = self.train(2, "sharded", "--shard", "full")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("--shard", result.stderr)


if __name__ == "__main__":
    unittest.main()
