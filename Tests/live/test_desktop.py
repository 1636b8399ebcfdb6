"""`swan stream` on a desktop: a screen as the source, and a window. The desktop is Xvfb's."""
import os
import signal
import subprocess
import time
import unittest

from tools import Folder, Process, events, frames_in, free_port, needs, shown, swan, test_pattern

GREEN = (32, 192, 64)


class Desktop(Folder):
    """A test with an X server of its own, of 640x480 pixels."""

    def setUp(self):
        super().setUp()
        reading, writing = os.pipe()
        self.server = Process(
            self, ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten",
                   "tcp"], pass_fds=[writing])
        os.close(writing)
        with os.fdopen(reading) as pipe:
            self.display = ":" + pipe.readline().strip()

    @property
    def environment(self):
        return {"DISPLAY": self.display, "SDL_VIDEODRIVER": "x11"}

    def mean(self, *source):
        """The mean color of a source's first frame."""
        answer = subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", *source, "-frames:v", "1", "-vf",
             "scale=1:1:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            capture_output=True, timeout=30, check=True)
        return tuple(answer.stdout[:3])

    def screen(self, region="320x240", at="160,120"):
        return ["-f", "x11grab", "-video_size", region, "-i", f"{self.display}+{at}"]

    @staticmethod
    def is_near(color, distance):
        return all(abs(a - b) <= distance for a, b in zip(color, GREEN, strict=True))

    def until(self, condition, what, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.1)
        self.fail(f"{what} did not happen")

    def titles(self):
        """The titles of all windows that are swan's."""
        answer = subprocess.run(
            ["xdotool", "search", "--name", "^swan: "], capture_output=True, text=True, timeout=30,
            env={**os.environ, **self.environment})
        names = []
        for window in answer.stdout.split():
            name = subprocess.run(
                ["xdotool", "getwindowname", window], capture_output=True, text=True, timeout=30,
                env={**os.environ, **self.environment})
            names.append(name.stdout.strip())
        return names

    def press(self, key):
        subprocess.run(["xdotool", "key", key], timeout=30, check=True,
                       env={**os.environ, **self.environment})


@needs("ffmpeg", "ffplay", "ffprobe", "Xvfb")
class ScreenTests(Desktop):
    def test_a_region_of_the_screen(self):
        Process(self, ["ffplay", "-loglevel", "error", "-noborder", "-left", "0", "-top", "0", "-f",
                       "lavfi", "-i", "color=c=0x20c040:size=640x480"],
                environment=self.environment)
        self.until(lambda: self.is_near(self.mean(*self.screen()), 4), "the picture on the screen")
        recording = self.path("out.mkv")
        program = swan(self, f"screen:{self.display}/320x192+16+24", "--prompt", "no change", "--fps",
                       "10", "--max-frames", "9", "-o", recording)
        self.assertEqual(program.wait(), 0, program.text)
        self.expect_figures(program.text)
        stream = frames_in(recording)
        # The output keeps the region's aspect ratio.
        self.assertAlmostEqual(stream["width"] / stream["height"], 320 / 192, delta=0.1)
        self.assertTrue(self.is_near(self.mean("-i", recording), 48))

    def test_what_is_no_screen(self):
        cases = {
            "screen::99": (69, "display"),
            f"screen:{self.display}/320x240+600+0": (69, "region"),
            "screen:/320": (64, "region"),
        }
        for name, (code, word) in cases.items():
            with self.subTest(name):
                program = swan(self, name, "-o", self.path("out.mp4"))
                self.assertEqual(program.wait(), code, program.text)
                self.assertIn(word, program.text)


@needs("ffmpeg", "Xvfb", "xdotool")
class WindowTests(Desktop):
    def setUp(self):
        super().setUp()
        self.clip = self.path("in.mp4")
        subprocess.run(
            ["ffmpeg", "-v", "error", *test_pattern(seconds=120, realtime=False), "-c:v", "libx264",
             "-preset", "ultrafast", self.clip], check=True, timeout=30)

    def test_a_window_with_keys(self):
        program = swan(self, self.clip, "--prompt", "no change", "--show",
                       environment=self.environment)
        program.until(lambda text: shown(text) >= 8, "8 frames")
        self.until(lambda: any("fps" in title for title in self.titles()), "a title with figures")
        # The screen is black where nothing is shown.
        self.until(lambda: max(self.mean(*self.screen())) > 40, "a picture in the window")
        styles = subprocess.run([program.command[0], "styles"], capture_output=True, text=True,
                                timeout=60, check=True).stdout
        self.press("1")
        self.until(lambda: not any("no change" in title for title in self.titles()), "a style")
        name = self.titles()[0].removeprefix("swan: ").rpartition(" (")[0]
        self.assertIn(name, styles)
        self.press("space")
        self.until(lambda: any("paused" in title for title in self.titles()), "a pause")
        self.press("space")
        self.until(lambda: not any("paused" in title for title in self.titles()), "its end")
        self.press("q")
        self.assertEqual(program.wait(), 0, program.text)
        self.assertEqual(events(program.text)[-1]["event"], "done")

    def test_a_window_without_a_receiver_closes(self):
        """An output that waits for its receiver does not keep the window open."""
        program = swan(self, self.clip, "--show", "-o", f"tcp://127.0.0.1:{free_port()}?listen",
                       environment=self.environment)
        program.until(lambda text: "waiting for a receiver" in text, "the wait")
        self.until(lambda: self.titles(), "a window")
        self.press("q")
        self.assertEqual(program.wait(), 0, program.text)

    def test_a_window_and_a_file(self):
        recording = self.path("out.mp4")
        program = swan(self, self.clip, "--show", "--max-frames", "13", "-o", recording,
                       environment={"SDL_VIDEODRIVER": "dummy"})
        self.assertEqual(program.wait(), 0, program.text)
        self.assertEqual(int(frames_in(recording)["nb_read_frames"]), 13)

    def test_signals_close_the_window(self):
        program = swan(self, self.clip, "--show", environment={"SDL_VIDEODRIVER": "dummy"})
        program.until(lambda text: shown(text) >= 8, "8 frames")
        self.assertEqual(program.stop(signal.SIGINT), 130, program.text)

    def test_no_display(self):
        for environment in [{"DISPLAY": ":99", "SDL_VIDEODRIVER": "x11"},
                            {"DISPLAY": "", "WAYLAND_DISPLAY": "", "SDL_VIDEODRIVER": ""}]:
            with self.subTest(environment):
                program = swan(self, self.clip, "--show", environment=environment)
                self.assertEqual(program.wait(), 69, program.text)
                self.assertIn("--show", program.text)
                self.assertIn("display", program.text)


if __name__ == "__main__":
    unittest.main()
