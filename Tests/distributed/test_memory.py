"""The memory that `swan train` says a distillation needs, against what it uses: within 25 %."""
import json
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import killed
import ranks
from test_distillation import write_latents

#: The longest that a run may take on a busy machine, in seconds.
LIMIT = 120
MATCHING = {
    "distillation_loss": "dmd", "generator_name": "wan", "generator_task": "bidirectional_video",
    "denoising_step_list": [1000, 500], "backward_simulation": True, "data_path": "prompts.txt",
    "dfake_gen_update_ratio": 1,
}
ROLLOUT = {
    **MATCHING, "distillation_loss": "self_forcing", "generator_name": "causal_wan",
    "generator_task": "causal_video",
}
REGRESSION = {
    **MATCHING, "distillation_loss": "ode", "denoising_step_list": [900, 400, 0],
    "backward_simulation": False, "data_path": "states.safetensors",
}


def status(pid, name):
    """A size in /proc/…/status, in MB; nil if the process has ended."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) / 1000 * 1.024 if found else None


class Memory(unittest.TestCase):
    def measure(self, changes):
        """What a run says that it needs, and what it uses besides what it had when it said so, in MB."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            keys = {**killed.SHARED, "log_iters": 100, **changes}
            (folder / "prompts.txt").write_text("sepia\nnight\n")
            if keys["distillation_loss"] == "ode":
                write_latents(folder / "states.safetensors", rows=1, shape=keys["image_or_video_shape"][1:], states=3)
            (folder / "a.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
            process = subprocess.Popen(
                [ranks.SWAN, "train", str(folder / "a.yaml"), "--output", str(folder / "out"), "--data", name,
                 "--device", "cpu", "--max-steps", "2", "--progress", "none", "--no-visualize", "--no-save"],
                env=ranks.clean(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.kill)
            said, before, peak = None, None, 0
            for line in process.stderr:
                if found := re.search(r"memory: about (\d+) MB for each process", line):
                    said, before = int(found[1]), status(process.pid, "VmRSS")
                    break
            end = time.monotonic() + LIMIT
            while process.poll() is None and time.monotonic() < end:
                peak = max(peak, status(process.pid, "VmHWM") or 0)
                time.sleep(0.005)
            self.assertEqual(process.poll(), 0, process.stderr.read())
            process.stderr.close()
            return said, peak - before

    def expect_near(self, changes):
        said, used = self.measure(changes)
        # What the engine takes besides: code pages, threads.
        engine = 40
        self.assertLess(abs(said + engine - used), 0.25 * used, f"said {said}, used {used:.0f} MB: {changes}")
        return said, used

    def test_a_tiny_run(self):
        self.expect_near({**MATCHING, "image_or_video_shape": [1, 4, 48, 8, 8]})

    def test_a_small_run(self):
        self.expect_near({**MATCHING, "image_or_video_shape": [1, 8, 48, 24, 24]})

    def test_with_checkpointing(self):
        self.expect_near({**MATCHING, "image_or_video_shape": [1, 8, 48, 24, 24], "gradient_checkpointing": True})

    def test_videos_made_block_by_block(self):
        self.expect_near({**ROLLOUT, "image_or_video_shape": [1, 4, 48, 24, 24]})

    def test_a_regression(self):
        self.expect_near({**REGRESSION, "image_or_video_shape": [1, 4, 48, 24, 24]})


if __name__ == "__main__":
    unittest.main()
