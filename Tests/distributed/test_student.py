"""`swan train` of a student for pictures: the same bits over several ranks, wherever the teacher is."""
import json
import pathlib
import subprocess
import tempfile
import unittest

import ranks

SEEDS = str(pathlib.Path(ranks.SWAN).with_name("fuzz-seeds"))
PROMPTS = [f"{color} {thing}" for color in ("a red", "a blue", "the") for thing in ("ball", "cat at night", "sea")]
LIMIT = 60


class StudentOverRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        subprocess.run([SEEDS, folder.name], check=True, capture_output=True, env=ranks.clean(), timeout=LIMIT)
        (cls.folder / "prompts.txt").write_text("\n".join(PROMPTS))

    def settings(self, name, student=None, **changes):
        keys = {
            "teacher_path": "Wan2.2-T2V-A14B-diffusers", "data_path": "prompts.txt", "teacher_steps": 2,
            "lr": 1.0e-3, "held_out_rows": 2, "samples_per_prompt": 3, "num_steps": 4,
            "student_config": {
                "hidden_size": 24, "depth": 2, "num_heads": 2, "num_channels": 16, "image_size": 32,
                "text_encoder_output_dim": 16, **(student or {}),
            },
            **changes,
        }
        path = self.folder / name
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        return str(path)

    def train(self, size, output, settings, *options):
        command = [ranks.SWAN, "train", settings, "--output", str(self.folder / output), "--data",
                   str(self.folder), "--device", "cpu", "--progress", "none", *options]
        if size > 1:
            command[1:1] = ["launch", "--nproc", str(size), "--"]
        return subprocess.run(
            command, env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False)

    def weights(self, output, name="diffusion_pytorch_model"):
        return (self.folder / output / f"{name}.safetensors").read_bytes()

    def expect(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_strategies_give_the_same_bits(self):
        for size, strategies in (2, ("cpu", "balanced", "gpu0", "auto")), (3, ("balanced", "gpu0")):
            one = f"one{size}"
            self.expect(self.train(1, one, self.settings(f"{one}.yaml", gradient_accumulation_steps=size)))
            for strategy in strategies:
                name = f"{strategy}{size}"
                done = self.train(
                    size, name, self.settings("many.yaml"), "--teacher-device-strategy", strategy)
                self.expect(done)
                self.assertIn(f"teacher_device_strategy {'cpu' if strategy == 'auto' else strategy}", done.stderr)
                self.assertEqual(self.weights(name), self.weights(one), name)

    def test_resumes_with_another_strategy(self):
        settings = self.settings("resumed.yaml", checkpoint_steps=1)
        self.expect(self.train(2, "whole", settings, "--teacher-device-strategy", "balanced"))
        self.expect(self.train(2, "parts", settings, "--teacher-device-strategy", "gpu0", "--num-steps", "2"))
        self.expect(self.train(2, "parts", settings, "--teacher-device-strategy", "cpu", "--resume"))
        self.assertEqual(self.weights("parts"), self.weights("whole"))

    def test_as_published_each_rank_has_a_convolution(self):
        settings = self.settings("published.yaml", {"num_channels": 4}, parity=True)
        self.expect(self.train(2, "published", settings))
        for name in ("diffusion_pytorch_model", "output_proj"):
            self.assertGreater(len(self.weights("published", name)), 100)
        done = self.train(2, "gpu0-published", settings, "--teacher-device-strategy", "gpu0")
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("rank 0", done.stderr)

    def test_an_error_of_a_rank_ends_all(self):
        settings = self.settings("broken.yaml", {"image_size": 40})
        done = self.train(2, "broken", settings)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("image_size 40", done.stderr)


if __name__ == "__main__":
    unittest.main()
