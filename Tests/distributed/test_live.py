"""`swan stream` over several ranks with live sources and receivers, which rank 0 has."""
import os
import pathlib
import signal
import socket
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "live"))

import unittest

from ranks import ranks_of, wait_for_end
from tools import (
    H264, SWAN, Folder, Process, events, ffmpeg, frames_in, free_port, needs, shown, test_pattern,
)


def launched(test, ranks, source, *options, **settings):
    """Starts `swan stream` over ranks, with JSON progress."""
    command = [SWAN, "launch", "--nproc", str(ranks), "--", "stream", source, "--prompt", "sepia",
               "--progress", "json", "--device", "cpu", "--dtype", "float32", *options]
    return Process(test, command, **settings)


@needs("ffmpeg", "ffprobe")
class LiveOverRanks(Folder):
    def test_udp_to_tcp(self):
        """A sender, two ranks, and a receiver that records; Ctrl-C ends all."""
        first, second = free_port(socket.SOCK_DGRAM), free_port()
        recording = self.path("out.mkv")
        recorder = ffmpeg(self, "-i", f"tcp://127.0.0.1:{second}?listen=1", "-c", "copy", "-y", recording)
        program = launched(self, 2, f"udp://127.0.0.1:{first}", "-o", f"tcp://127.0.0.1:{second}",
                           "--reconnect", "20", "--bitrate", "400k")
        sender = ffmpeg(self, *test_pattern(), *H264, "-f", "mpegts", f"udp://127.0.0.1:{first}?pkt_size=1316")
        program.until(lambda text: shown(text) >= 16, "16 frames")
        pids = ranks_of(program.process.pid)
        self.assertEqual(set(pids), {0, 1})
        self.assertEqual(program.stop(), 130, program.text)
        self.assertEqual(wait_for_end(pids.values()), [])
        self.expect_figures(program.text)
        recorder.wait()
        sender.kill()
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 12)

    def test_a_signal_to_another_rank_ends_the_stream(self):
        sender = subprocess.Popen(
            ["ffmpeg", "-v", "quiet", *test_pattern(seconds=600), "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
        self.addCleanup(sender.wait)
        recording = self.path("out.mkv")
        program = launched(self, 2, "-", "--live", "-o", recording, stdin=sender.stdout)
        sender.stdout.close()
        program.until(lambda text: shown(text) >= 9, "9 frames")
        os.kill(ranks_of(program.process.pid)[1], signal.SIGTERM)
        self.assertEqual(program.wait(), 143, program.text)
        self.assertIn("done", [event["event"] for event in events(program.text)])
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 5)

    def test_a_rank_lost_keeps_what_was_recorded(self):
        """A pipe as a source: every frame that was restyled before is in the file."""
        sender = subprocess.Popen(
            ["ffmpeg", "-v", "quiet", *test_pattern(seconds=60), "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
        self.addCleanup(sender.wait)
        recording = self.path("out.mp4")
        program = launched(self, 2, "-", "--live", "-o", recording, "--layout", "steps", stdin=sender.stdout)
        sender.stdout.close()
        program.until(lambda text: shown(text) >= 9, "9 frames")
        pids = ranks_of(program.process.pid)
        os.kill(pids[1], signal.SIGKILL)
        self.assertEqual(program.wait(), 137, program.text)
        self.assertEqual(wait_for_end(pids.values()), [])
        self.assertIn("rank 1", program.text)
        self.assertNotIn("done", [event["event"] for event in events(program.text)])
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 5)


if __name__ == "__main__":
    unittest.main()
