"""Jobs outlive kills, restarts and full disks; a folder has one server."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from clients import Client, until
from test_realtime import SWAN, Session, Swan
from videos import VideoCase, png, video


class DurabilityTest(unittest.TestCase):
    """Rows 27 and 28: kills, restarts, folders in use, disks that are full."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, *options, folder=None):
        case = VideoCase("refused")
        case.folder = folder or self.folder
        case.server = Swan("--jobs", case.folder + "/jobs", *options)
        self.addCleanup(case.server.stop, signal.SIGKILL)
        return case

    def test_restart_continues(self):
        case = self.start()
        first, second = case.slow_job(), case.accepted(case.upload(png(64, 64), "a.png", size="64x64", max_frames=5))
        case.running(first)
        case.server.stop()
        case = self.start()
        self.assertEqual([job["id"] for job in case.request("GET", "/v1/videos?order=asc")[2]["data"]], [first, second])
        case.running(first)
        case.request("DELETE", f"/v1/videos/{first}")
        self.assertEqual(case.finished(second)["status"], "completed")

    def test_kill_loop(self):
        """No kill leaves a video that is cut short, or loses a job."""
        job, done = None, []
        for round in range(int(os.environ.get("KILLS", "8"))):
            case = self.start()
            if job is None or case.get(job)["status"] in ("completed", "failed"):
                if job:
                    done.append(job)
                job = case.accepted(case.upload(png(64, 64), "a.png", size="64x64", max_frames=60))
            for earlier in done:
                state = case.get(earlier)
                if state["status"] == "failed":
                    self.assertEqual(state["error"]["code"], "interrupted")
            for path in pathlib.Path(self.folder, "jobs/videos").glob("[!.]*.mp4"):
                self.assertIn(b"moov", path.read_bytes(), path)
            time.sleep(random.Random(round).random() * 2)
            case.server.stop(signal.SIGKILL)
        case = self.start()
        self.assertIn(case.finished(job)["status"], ("completed", "failed"))
        self.assertEqual(os.listdir(self.folder + "/jobs/uploads"), [])
        self.assertFalse(list(pathlib.Path(self.folder, "jobs/videos").glob(".*")))

    def test_poisonous_job(self):
        """A job that ends the server each time is given up."""
        job = None
        for _ in range(3):
            case = self.start()
            job = job or case.slow_job()
            case.running(job)
            case.server.stop(signal.SIGKILL)
        case = self.start()
        state = case.get(job)
        self.assertEqual((state["status"], state["error"]["code"]), ("failed", "interrupted"))

    def test_those_who_watch_do_not_delay_the_end(self):
        case = self.start()
        job = case.slow_job()
        session = Session(self, case.server)
        for path, first in [
            (f"/v1/videos/{job}/events", b"event: "),
            (f"/v1/realtime/sessions/{session.ready['session']}/mjpeg", b"--swanframe"),
        ]:
            watcher = Client(case.server)
            self.addCleanup(watcher.__exit__)
            watcher.request(path=path)
            while first not in watcher.buffer:
                self.assertTrue(watcher.fill())
        # Connections have five seconds to end.
        self.assertEqual(case.server.stop(signal.SIGTERM, timeout=7), 0)

    def test_one_server_a_folder(self):
        self.start()
        second = subprocess.run(
            [SWAN, "serve", "--port", "0", "--device", "cpu", "--jobs", self.folder + "/jobs"],
            capture_output=True, text=True, timeout=60)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("--jobs", second.stderr)

    def test_expiry(self):
        case = self.start("--keep-jobs", "1")
        job = case.accepted(case.upload(png(64, 64), "a.png", size="64x64", max_frames=1))
        self.assertTrue(until(lambda: case.request("GET", f"/v1/videos/{job}")[0] == 404, 60))
        self.assertTrue(until(lambda: not list(pathlib.Path(self.folder, "jobs").rglob(f"{job}*")), 20))

    @unittest.skipUnless(os.geteuid() == 0, "needs to mount a file system")
    def test_full_disk(self):
        small = self.folder + "/small"
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small], capture_output=True).returncode:
            self.skipTest("cannot mount a file system here")
        self.addCleanup(subprocess.run, ["umount", "-l", small])
        case = self.start(folder=small)
        case.refused(case.upload(b"\x89PNG" + os.urandom(12 << 20), "a.png"), 507, "insufficient_storage")
        self.assertEqual(os.listdir(small + "/jobs/uploads"), [])
        pathlib.Path(small, "filler").write_bytes(bytes(5_600_000))
        # A picture that stands still would hardly take any space.
        moving = video(frames=240, source="testsrc2=size=128x128:rate=12")
        answer = case.upload(moving, size="512x512", seconds=60)
        if answer[0] == 200:
            state = case.finished(answer[2]["id"], 300)
            self.assertEqual((state["status"], state["error"]["code"]), ("failed", "insufficient_storage"))
        else:
            case.refused(answer, 507)
        self.assertIsNone(case.server.process.poll())
        pathlib.Path(small, "filler").unlink()
        case.delete_all()
        job = case.accepted(case.upload(png(64, 64), "a.png", size="64x64", max_frames=1))
        self.assertEqual(case.finished(job)["status"], "completed")

    def test_unusable_folder(self):
        pathlib.Path(self.folder, "jobs").write_text("a file")
        ended = subprocess.run(
            [SWAN, "serve", "--port", "0", "--device", "cpu", "--jobs", self.folder + "/jobs"],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(ended.returncode, 73, ended.stderr)


if __name__ == "__main__":
    unittest.main()
