"""Jobs of `swan serve` (/v1/videos): the OpenAI client, the queue, generated videos."""
import base64
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import warnings

from clients import ROOT, Client, until
from test_realtime import Swan
from videos import BOUNDARY, FFMPEG, VideoCase, form, png, video

try:
    import openai
except ImportError:
    openai = None


class JobTest(VideoCase):
    """What well-behaved clients do."""

    def setUp(self):
        # The package calls the service that it was written for deprecated, not its protocol.
        warnings.simplefilter("ignore", DeprecationWarning)

    @unittest.skipUnless(openai, "needs the package openai")
    def test_openai_client(self):
        client = openai.OpenAI(base_url=f"http://localhost:{self.server.port}/v1", api_key="unused", max_retries=0)
        data = video() if FFMPEG else png(64, 48)
        made = client.videos.create_and_poll(
            prompt="sepia", model="tiny", seconds="1", size="64x64", input_reference=("clip.mp4", data))
        self.assertEqual((made.status, made.progress, made.size, made.seconds), ("completed", 100, "64x64", "1"))
        self.assertGreater(made.expires_at, made.completed_at)
        content = client.videos.download_content(made.id).read()
        self.assertEqual(content[4:8], b"ftyp")
        for variant in ("thumbnail", "spritesheet"):
            self.assertEqual(client.videos.download_content(made.id, variant=variant).read()[:3], b"\xff\xd8\xff")
        other = client.videos.remix(made.id, prompt="pencil sketch")
        self.assertEqual((other.remixed_from_video_id, other.size), (made.id, "64x64"))
        self.assertEqual(client.videos.poll(other.id).status, "completed")
        self.assertNotEqual(client.videos.download_content(other.id).read(), content)
        self.assertEqual([item.id for item in client.videos.list(limit=1)], [other.id, made.id])
        self.assertEqual([item.id for item in client.videos.list(order="asc")], [made.id, other.id])
        self.assertTrue(client.videos.delete(made.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            client.videos.retrieve(made.id)

    @unittest.skipUnless(openai, "needs the package openai")
    def test_openai_client_with_settings_and_data_url(self):
        client = openai.OpenAI(base_url=f"http://localhost:{self.server.port}/v1", api_key="unused", max_retries=0)
        url = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()
        made = client.videos.create(
            prompt="sepia", seconds="1", size="64x64",
            extra_body={"input_reference": {"image_url": url}, "settings": {"seed": 7, "steps": 1}, "fps": 8})
        self.assertEqual(self.finished(made.id)["frames"], 8)
        made = client.videos.create(
            prompt="sepia", seconds="1", size="64x64", input_reference=("a.png", png(64, 64)),
            extra_body={"settings": {"seed": 7, "steps": 1}, "fps": 8})
        self.assertEqual(self.finished(made.id)["frames"], 8)

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_restyles_as_many_frames_as_came(self):
        job = self.accepted(self.upload(video(frames=13), size="64x48", prompt_at='[{"frame": 8, "prompt": "pencil sketch"}]'))
        self.assertEqual(self.request("GET", f"/v1/videos/{job}")[1].get("openai-poll-after-ms"), "500")
        done = self.finished(job)
        self.assertEqual((done["frames"], done["fps"], done["size"]), (13, 12, "64x48"), done)
        path = pathlib.Path(self.folder, "made.mp4")
        path.write_bytes(self.request("GET", f"/v1/videos/{job}/content")[2])
        counted = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,width,height", "-of", "csv=p=0", path],
            capture_output=True, text=True, check=True).stdout.strip()
        self.assertEqual(counted, "64,48,13")

    def test_unknown_prompts_are_reported(self):
        done = self.finished(self.accepted(self.upload(
            png(64, 64), "a.png", prompt="quarterly report", size="64x64", max_frames=9,
            prompt_at='[{"frame": 4, "prompt": "annual report"}]')))
        self.assertEqual(done["status"], "completed", done)
        self.assertEqual(len(done["issues"]), 2, done)
        self.assertIn("quarterly report", done["issues"][0])
        known = self.finished(self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=1)))
        self.assertEqual(known["issues"], [])

    def test_prompts_beyond_the_end_are_reported(self):
        done = self.finished(self.accepted(self.upload(
            png(64, 64), "a.png", size="64x64", max_frames=5,
            prompt_at='[{"frame": 0, "prompt": "sepia"}, {"frame": 400, "prompt": "sepia"}]')))
        self.assertEqual(done["status"], "completed", done)
        self.assertEqual(len(done["issues"]), 1, done)
        self.assertIn("400", done["issues"][0])

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_resampled_videos_have_their_length_from_the_start(self):
        """12 frames at 12 fps are 60 at 60 fps: while it waits, as when it is finished."""
        slow = self.slow_job()
        answer = self.upload(video(frames=12), size="64x48", fps=60)
        waiting = self.get(self.accepted(answer))
        self.assertEqual((waiting["frames"], waiting["seconds"]), (60, "1"), waiting)
        error = self.refused(self.upload(video("-preset", "ultrafast", frames=2_100, size="16x16"), fps=60), 422, "too_many_frames")
        self.assertIn("10500", error["message"])
        self.request("DELETE", f"/v1/videos/{slow}")
        done = self.finished(waiting["id"])
        self.assertEqual((done["frames"], done["seconds"]), (60, "1"), done)

    def test_the_page_has_one_address(self):
        status, fields, _ = self.request("GET", "/jobs/?a=b")
        self.assertEqual((status, fields["location"]), (308, "../jobs?a=b"))
        self.assertEqual(self.request("GET", "/jobs")[0], 200)
        self.assertEqual(self.request("GET", "/")[0], 200)

    def test_ranges(self):
        job = self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=5))
        self.refused(self.request("GET", f"/v1/videos/{job}/content"), 409, "video_not_ready")
        self.finished(job)
        path = f"/v1/videos/{job}/content"
        _, fields, whole = self.request("GET", path)
        self.assertEqual((fields["content-type"], fields["accept-ranges"]), ("video/mp4", "bytes"))
        size = len(whole)
        for text, start, end in [("0-9", 0, 10), ("10-", 10, size), ("-7", size - 7, size), (f"5-{size + 9}", 5, size)]:
            status, fields, part = self.request("GET", path, Range=f"bytes={text}")
            self.assertEqual((status, part), (206, whole[start:end]), text)
            self.assertEqual(fields["content-range"], f"bytes {start}-{end - 1}/{size}")
        self.assertEqual(self.request("GET", path, Range=f"bytes={size}-")[0], 416)
        self.assertEqual(self.request("GET", path, Range="bytes=9-1")[0], 200)
        self.assertEqual(self.request("GET", path, If_None_Match=fields["etag"])[0], 304)
        self.refused(self.request("GET", path + "?variant=../jobs.sqlite"), 400)

    def test_events(self):
        job = self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=17))
        with Client(self.server, timeout=60) as client:
            client.request("GET", f"/v1/videos/{job}/events")
            while b"event: completed" not in client.buffer or not client.buffer.endswith(b"0\r\n\r\n"):
                self.assertTrue(client.fill(), client.buffer)
            text = client.buffer.decode()
        self.assertIn("content-type: text/event-stream", text.lower())
        states = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        self.assertEqual(states[-1]["progress"], 100)
        progress = [state["progress"] for state in states]
        self.assertEqual(progress, sorted(progress))
        self.assertTrue(any(0 < step < 100 for step in progress), progress)

    def test_idempotency(self):
        files = [("input_reference", "a.png", png(64, 64))]
        fields = {"size": "64x64", "max_frames": 5}
        first = self.accepted(self.post(fields, files, Idempotency_Key="key-1"))
        self.assertEqual(self.accepted(self.post(fields, files, Idempotency_Key="key-1")), first)
        self.assertNotEqual(self.accepted(self.post(fields, files, Idempotency_Key="key-2")), first)
        self.refused(self.post({**fields, "seconds": 1}, files, Idempotency_Key="key-1"), 422, "idempotency_key_reused")
        self.assertEqual(len(self.request("GET", "/v1/videos")[2]["data"]), 2)

    def test_delete_stops_a_running_job(self):
        job = self.slow_job()
        self.running(job)
        # The decoder of a video would run, too; a picture's has ended.
        self.assertTrue(until(lambda: self.get(job)["progress"] >= 0))
        self.assertEqual(self.request("DELETE", f"/v1/videos/{job}")[2],
                         {"id": job, "object": "video.deleted", "deleted": True})
        self.refused(self.request("GET", f"/v1/videos/{job}"), 404, "no_such_video")
        # The next one can run only when it has stopped.
        self.assertEqual(self.finished(self.accepted(
            self.upload(png(64, 64), "a.png", size="64x64", max_frames=5)), 60)["status"], "completed")
        names = [path.name for path in pathlib.Path(self.folder, "jobs").rglob("*") if job in path.name]
        self.assertEqual(names, [])


class QueueTest(VideoCase):
    options = ("--max-jobs", "3")

    def test_full_queue(self):
        """Row 1: jobs beyond the limit are refused at once, and the running one is unaffected."""
        job = self.slow_job()
        self.running(job)
        for _ in range(2):
            self.slow_job()
        before = self.server.memory
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: self.upload(png(64, 64), "a.png"), range(200)))
        for answer in answers:
            self.refused(answer, 429, "queue_full")
            self.assertIn("retry-after", answer[1])
        self.assertLess(self.server.memory - before, 100)
        self.assertEqual(self.get(job)["status"], "in_progress")
        self.assertEqual(os.listdir(self.folder + "/jobs/uploads"), [])

    def test_uploads_that_stall_take_no_places(self):
        """More stalled uploads than there are places: others get theirs."""
        head = (f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n")
        stalled = [Client(self.server) for _ in range(6)]
        for client in stalled:
            self.addCleanup(client.socket.close)
            client.send(head).send(form({"prompt": "sepia"}, [("input_reference", "a.png", png(64, 64))], end=False))
        uploads = pathlib.Path(self.folder, "jobs/uploads")
        self.assertTrue(until(lambda: len(list(uploads.iterdir())) == len(stalled)))
        self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=1))

    def test_places_come_back(self):
        for _ in range(8):
            self.refused(self.upload(b"nonsense"), 415)
        self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=1))


class GenerationTest(unittest.TestCase):
    """Videos from text and pictures, by checkpoints with random weights."""

    @classmethod
    def setUpClass(cls):
        seeds = os.environ.get("FUZZ_SEEDS", str(ROOT / ".build/debug/fuzz-seeds"))
        if not os.path.exists(seeds):
            raise unittest.SkipTest("needs fuzz-seeds, which makes checkpoints")
        cls.models = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.models, ignore_errors=True)
        subprocess.run([seeds, cls.models], check=True, timeout=120, stdout=subprocess.DEVNULL)

    def start(self, model):
        case = VideoCase("refused")
        case.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, case.folder, ignore_errors=True)
        case.server = Swan("--jobs", case.folder + "/jobs", "--video-model", f"{self.models}/{model}")
        self.addCleanup(case.server.stop)
        return case

    def made(self, case, files=(), **fields):
        fields = {"size": "32x32", "settings[frames]": 5, "settings[steps]": 2, **fields}
        state = case.finished(case.accepted(case.post(fields, files)))
        self.assertEqual((state["status"], state["size"], state["frames"]), ("completed", "32x32", 5), state)
        self.assertEqual(case.request("GET", f"/v1/videos/{state['id']}/content")[2][4:8], b"ftyp")
        return state

    def test_text(self):
        case = self.start("Wan2.1-T2V-original")
        state = self.made(case)
        self.assertEqual((state["kind"], state["model"], state["fps"]), ("generate", "Wan2.1-T2V-original", 16))
        body = json.dumps({"prompt": "a fox", "seconds": 0.3, "size": "32x32", "settings": {
            "steps": 2, "seed": 3, "guidance": 3, "negative_prompt": "blur", "shift": 2.5, "solver": "euler",
            "schedule": "diffusers", "batch_guidance": True, "cache": 0.1}}).encode()
        job = case.accepted(case.request("POST", "/v1/videos", body, Content_Type="application/json"))
        self.assertEqual(case.finished(job)["frames"], 5)
        for fields, parameter in [
            ({"size": "33x32"}, "settings"), ({"settings[frames]": 6}, "settings"), ({"settings[steps]": 0}, "settings"),
            ({"settings[noise_scale]": 1}, "settings"), ({"size": "32x32", "settings": '{"area": 1024}'}, "size"),
            ({"prompt_at": '[{"frame": 1, "prompt": "x"}]'}, "prompt_at"),
            ({"seconds": 1, "settings[frames]": 5}, "seconds"),
        ]:
            self.assertEqual(case.refused(case.post(fields), 400)["param"], parameter)
        # The other model of this server restyles.
        job = case.accepted(case.upload(png(64, 64), "a.png", model="tiny", size="64x64", max_frames=1))
        self.assertEqual(case.finished(job)["kind"], "restyle")
        names = [model["id"] for model in case.request("GET", "/v1/models")[2]["data"]]
        self.assertEqual(names, ["tiny", "Wan2.1-T2V-original"])

    def test_picture(self):
        case = self.start("Wan2.1-I2V-diffusers")
        self.made(case, [("input_reference", "a.png", png(48, 32))])
        # What is missing is found before the job is queued.
        error = case.refused(case.post({"size": "32x32", "settings[frames]": 5}), 400)
        self.assertEqual(error["code"], "invalid_request")

    def test_two_pictures(self):
        case = self.start("Wan2.1-FLF2V-original")
        self.made(case, [("input_reference", "a.png", png(48, 32)), ("last_image", "b.png", png(32, 32))])

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_control(self):
        case = self.start("Wan2.1-VACE-original")
        clip = video(frames=8, size="48x32")
        self.made(case, [("control", "a.mp4", clip), ("mask", "b.mp4", clip), ("references", "c.png", png(32, 32))], control_scale=0.5)
        case.refused(case.post({}, [("control", "a.png", png(32, 32))]), 400)


if __name__ == "__main__":
    unittest.main()
