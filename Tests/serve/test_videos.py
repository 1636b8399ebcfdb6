"""Jobs of `swan serve` (/v1/videos): the OpenAI client, hostile uploads, a decoder that dies, kills and full disks."""
import base64
import concurrent.futures
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import warnings
import zlib

from clients import ROOT, Client, until
from test_realtime import SWAN, Swan

try:
    import openai
except ImportError:
    openai = None

FFMPEG = shutil.which("ffmpeg")
BOUNDARY = "boundary"


def png(width, height, rows=None):
    """A gray PNG picture; with `rows`, fewer rows than its header says."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = zlib.compress((b"\0" + b"\x80" * (3 * width)) * (height if rows is None else rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def form(fields=(), files=(), end=True):
    """The body of a form; `files` are (name, file name, bytes)."""
    body = b""
    for name, value in dict(fields).items():
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, filename, data in files:
        body += (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
                 "Content-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def video(*arguments, frames=12, size="64x48", suffix="mp4", source=None):
    """The bytes of a video that ffmpeg makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/v.{suffix}"
        subprocess.run(
            [FFMPEG, "-v", "error", "-f", "lavfi", "-i", source or f"testsrc=size={size}:rate=12",
             *(["-frames:v", str(frames)] if frames else []), *arguments, path], check=True, timeout=120)
        return pathlib.Path(path).read_bytes()


def children(pid):
    """The decoding processes of a server."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            status = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if folder.name.isdigit() and int(status.rsplit(")", 1)[1].split()[1]) == pid and b"decode-worker" in command:
            found.append(int(folder.name))
    return found


class VideoCase(unittest.TestCase):
    """A server with jobs, and requests to it."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = Swan("--jobs", cls.folder + "/jobs", *cls.options)
        cls.addClassCleanup(cls.server.stop)

    def request(self, method, path, body=b"", timeout=60, **headers):
        """The status, the headers, and the body as JSON if it is some."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        with Client(self.server, timeout=timeout) as client:
            status, fields, body = client.request(method, path, headers=fields, body=body).response(method)
        return status, fields, json.loads(body) if "json" in fields.get("content-type", "") else body

    def post(self, fields=(), files=(), path="/v1/videos", **headers):
        fields = {"prompt": "sepia", **dict(fields)}
        headers.setdefault("Content_Type", f"multipart/form-data; boundary={BOUNDARY}")
        return self.request("POST", path, form(fields, files), **headers)

    def upload(self, data, name="clip.mp4", **fields):
        return self.post(fields, [("input_reference", name, data)])

    def accepted(self, answer):
        self.assertEqual(answer[0], 200, answer)
        return answer[2]["id"]

    def refused(self, answer, status, code=None):
        """Checks that an answer is an error that reveals nothing of the server."""
        self.assertEqual(answer[0], status, answer)
        error = answer[2]["error"]
        for secret in [self.folder, "/tmp", "/v1", "0x", "swan-", "upload-"]:
            self.assertNotIn(secret, error["message"])
        if code:
            self.assertEqual(error["code"], code, error)
        return error

    def get(self, job):
        status, _, body = self.request("GET", f"/v1/videos/{job}")
        self.assertEqual(status, 200, body)
        return body

    def finished(self, job, timeout=120):
        self.assertTrue(until(lambda: self.get(job)["status"] in ("completed", "failed"), timeout), self.get(job))
        return self.get(job)

    def running(self, job, timeout=60):
        self.assertTrue(until(lambda: self.get(job)["status"] == "in_progress", timeout), self.get(job))

    def delete_all(self):
        for job in self.request("GET", "/v1/videos?limit=100")[2]["data"]:
            self.request("DELETE", f"/v1/videos/{job['id']}")

    def slow_job(self, **fields):
        """A job that runs for minutes."""
        return self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=5000, seconds=500, **fields))

    def tearDown(self):
        self.assertIsNone(self.server.process.poll())
        self.delete_all()


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


class RefusalTest(VideoCase):
    """Requests that are wrong."""

    def test_wrong_parameters(self):
        picture = [("input_reference", "a.png", png(64, 64))]
        for fields, parameter in [
            ({"prompt": " "}, "prompt"), ({"size": "64"}, "size"), ({"size": "63x64"}, "size"),
            ({"size": "99999x99999"}, "size"), ({"seconds": "0"}, "seconds"), ({"seconds": "x"}, "seconds"),
            ({"seconds": "1e9"}, "seconds"), ({"fps": "0"}, "fps"), ({"max_frames": "-1"}, "max_frames"),
            ({"surprise": "1"}, "surprise"), ({"settings": '{"surprise": 1}'}, "settings"),
            ({"settings[steps]": "0"}, "settings"), ({"settings[noise_scale]": "7"}, "settings"),
            ({"prompt_at": '[{"frame": -1, "prompt": "x"}]'}, "prompt_at"), ({"size": "16384x16384"}, "size"),
        ]:
            error = self.refused(self.post(fields, picture), 400)
            self.assertEqual(error["param"], parameter, error)
        self.refused(self.post({"model": "other"}, picture), 404, "model_not_found")
        self.assertEqual(self.refused(self.post(), 400)["param"], "input_reference")
        self.refused(self.post(files=picture * 2), 400)
        self.refused(self.post(files=[("other", "a.png", b"")]), 400, "unknown_file")
        self.refused(self.request("POST", "/v1/videos", b"[1]", Content_Type="application/json"), 400)
        self.refused(self.request("POST", "/v1/videos", b"{}" * 9, Content_Type="application/json"), 400)
        self.refused(self.request("POST", "/v1/videos", b"x", Content_Type="application/xml"), 415)
        self.refused(self.request("GET", "/v1/videos?limit=0"), 400)
        self.refused(self.request("GET", "/v1/videos?after=nothing"), 400)
        self.refused(self.request("GET", "/v1/videos/video_nothing"), 404)

    def test_malformed_forms(self):
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"'
        for body in [
            form({"prompt": "sepia"}, end=False), b"", b"--other\r\n\r\n", head.encode(),
            f"{head}\r\nX: a\nInjected: b\r\n\r\nsepia\r\n--{BOUNDARY}--".encode(),
            f"{head}; name=\"x\"\r\n\r\nsepia\r\n--{BOUNDARY}--".encode(),
            (head + "\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n" + f"--{BOUNDARY}--").encode(),
        ]:
            self.refused(self.request("POST", "/v1/videos", body or b" ", Content_Type=f"multipart/form-data; boundary={BOUNDARY}"), 400)
        self.refused(self.request("POST", "/v1/videos", b"x", Content_Type="multipart/form-data"), 400, "malformed_form")
        self.refused(self.post({f"field{index}": "" for index in range(99)}), 413, "form_too_large")
        self.refused(self.post({"prompt": "x" * 100_000}), 413, "form_too_large")
        self.assertEqual(os.listdir(self.folder + "/jobs/uploads"), [])

    def test_names_are_the_servers(self):
        """Row 14: nothing outside the folder is opened, whatever names a client sends."""
        before = set(pathlib.Path(self.folder).iterdir())
        for name in ["../../evil", "/etc/passwd", "a\\..\\b", "%2e%2e%2fevil", "a%00b", "x" * 900]:
            self.accepted(self.upload(png(64, 64), name, size="64x64", max_frames=1))
        for path in ["/v1/videos/..%2fjobs.sqlite", "/v1/videos/%2e%2e/content", "/v1/videos/a%00b", "/v1/videos/a\\b"]:
            self.assertIn(self.request("GET", path)[0], (400, 404), path)
        self.assertEqual(set(pathlib.Path(self.folder).iterdir()), before)
        names = [path.name for path in pathlib.Path(self.folder, "jobs").rglob("*")]
        self.assertFalse([name for name in names if "evil" in name or "passwd" in name])

    def test_no_url_is_loaded(self):
        """Row 15: a listener gets no connection."""
        hits = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hits.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        self.addCleanup(lambda: (listener.shutdown(), listener.server_close(), thread.join()))
        port = listener.server_port
        for url in [
            f"http://127.0.0.1:{port}/a.png", f"http://2130706433:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
            f"http:\\\\127.0.0.1:{port}\\@example.org/", "file:///etc/passwd", "http://169.254.169.254/", "//127.0.0.1/",
            "data:text/plain,x", "data:image/png;base64,%%%",
        ]:
            body = json.dumps({"prompt": "sepia", "input_reference": {"image_url": url}}).encode()
            self.refused(self.request("POST", "/v1/videos", body, Content_Type="application/json"), 400, "url_not_allowed")
        for name, text in self.scripts(port).items():
            self.refused(self.upload(text.encode(), name), 415, "unsupported_media")
        self.assertEqual(hits, [])

    @staticmethod
    def scripts(port):
        """Files that refer to other files or addresses."""
        url, secret = f"http://127.0.0.1:{port}/x.ts", "file:///etc/passwd"
        return {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
            "a.mp4": f"ffconcat version 1.0\nfile '{secret}'\nfile '{url}'\n",
            "a.mpd": f'<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL><Period></Period></MPD>',
            "a.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
            "a.avi": f"subfile,,start,0,end,99,,:{secret}", "a.txt": "hello", "a.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
            "a.pls": f"[playlist]\nFile1={url}\n",
        }

    def test_bombs(self):
        """Row 17: pictures and videos that are larger than they look."""
        huge = png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 65_500, 65_500))
        before = self.server.memory
        self.refused(self.upload(self.with_checksum(huge), "a.png"), 413)
        self.refused(self.upload(png(9_000, 9_000), "a.png"), 413)
        self.refused(self.upload(png(64, 64, rows=3), "a.png"), 422)
        self.refused(self.upload(b"\xff\xd8\xff", "a.jpg"), 422)
        self.refused(self.upload(b"", "a.png"), 422)
        self.assertLess(self.server.memory - before, 200)

    @staticmethod
    def with_checksum(data):
        return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_video_bombs(self):
        self.refused(self.upload(video("-c:v", "ffv1", frames=1, size="8192x4608", suffix="mkv"), "a.mkv"), 413)
        self.refused(self.upload(video("-f", "h264", "-preset", "ultrafast", frames=1, size="5000x4000", suffix="h264")), 413)
        many = video("-preset", "ultrafast", frames=12_000, size="16x16")
        self.refused(self.upload(many, size="64x64"), 422, "too_many_frames")
        self.accepted(self.upload(many, size="64x64", max_frames=2))
        sound = video("-t", "0.1", frames=None, source="sine", suffix="wav")
        self.refused(self.upload(sound, "a.wav"), 415)

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_small_then_large(self):
        """A video whose frames become large in the middle fails its job, or is scaled; the server lives."""
        data = (video("-f", "mpegts", "-preset", "ultrafast", frames=3, size="32x32", suffix="ts")
                + video("-f", "mpegts", "-preset", "ultrafast", frames=3, size="7680x4320", suffix="ts"))
        answer = self.upload(data, "a.ts", size="64x64")
        if answer[0] == 200:
            self.assertIn(self.finished(answer[2]["id"])["status"], ("completed", "failed"))

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_damaged_videos(self):
        """Row 18: truncated anywhere, flipped anywhere, odd formats: an error or frames, and never a crash."""
        whole = video("-preset", "ultrafast", frames=6)
        seed = int(os.environ.get("SEED", "7"))
        generator = random.Random(seed)
        samples = [whole[:generator.randrange(1, len(whole))] for _ in range(6)]
        for _ in range(10):
            damaged = bytearray(whole)
            for _ in range(20):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            samples.append(bytes(damaged))
        samples.append(video("-c:v", "ffv1", "-pix_fmt", "gray16le", frames=3, suffix="mkv"))
        samples.append(video("-c:v", "ffv1", "-pix_fmt", "yuva444p", frames=3, size="63x49", suffix="mkv"))
        jobs = []
        for sample in samples:
            answer = self.upload(sample, size="64x64", max_frames=3)
            self.assertIn(answer[0], (200, 413, 415, 422, 429), f"seed {seed}: {answer}")
            if answer[0] == 200:
                jobs.append(answer[2]["id"])
            if answer[0] == 429:
                self.delete_all()
                jobs = []
        for job in jobs:
            done = self.finished(job)
            if done["status"] == "failed":
                self.assertIn(done["error"]["code"], ("damaged_media", "media_too_large", "decoder_crashed"), f"seed {seed}: {done}")

    def test_cross_site_forms(self):
        """Pages of other origins can send forms without asking; they are refused by their origin."""
        files = [("input_reference", "a.png", png(64, 64))]
        self.refused(self.post(files=files, Origin="http://evil.example"), 403, "origin_not_allowed")
        self.refused(self.post(files=files, Sec_Fetch_Site="cross-site"), 403)
        self.refused(self.request("DELETE", "/v1/videos/x", Origin="http://evil.example"), 403)

    def test_body_limits_are_per_route(self):
        large = b"x" * (3 << 20)
        path = "/v1/videos/x/remix"
        self.refused(self.request("POST", path, large, Content_Type="application/json"), 413, "body_too_large")
        self.refused(self.upload(large), 415, "unsupported_media")


class TokenTest(VideoCase):
    """Every route needs the token."""

    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
            file.write("0123456789abcdef")
        cls.addClassCleanup(os.unlink, file.name)
        cls.options = ("--token-file", file.name)
        super().setUpClass()

    def tearDown(self):
        pass

    def test_token(self):
        for method, path in [
            ("GET", "/v1/videos"), ("POST", "/v1/videos"), ("GET", "/v1/videos/x"), ("DELETE", "/v1/videos/x"),
            ("GET", "/v1/videos/x/content"), ("GET", "/v1/videos/x/events"), ("POST", "/v1/videos/x/remix"),
        ]:
            self.refused(self.request(method, path), 401, "invalid_token")
            self.refused(self.request(method, path, Authorization="Bearer wrong"), 401)
        self.assertEqual(self.request("GET", "/v1/videos", Authorization="Bearer 0123456789abcdef")[0], 200)
        self.assertEqual(self.request("GET", "/jobs")[0], 200)


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

    def test_places_come_back(self):
        for _ in range(8):
            self.refused(self.upload(b"nonsense"), 415)
        self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=1))


class DecoderTest(VideoCase):
    """Row 19: the decoding process crashes or hangs."""

    options = ("--decoder-timeout", "2")

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def kill_decoder(self, number):
        # Many frames, so that the decoder waits for the model.
        job = self.accepted(self.upload(video("-preset", "ultrafast", frames=600, size="320x240"), size="64x64"))
        self.assertTrue(until(lambda: children(self.server.process.pid), 60))
        self.running(job)
        for child in children(self.server.process.pid):
            os.kill(child, number)
        return self.finished(job, 90)

    def test_crash(self):
        done = self.kill_decoder(signal.SIGSEGV)
        self.assertEqual((done["status"], done["error"]["code"]), ("failed", "decoder_crashed"))
        self.assertTrue(until(lambda: not children(self.server.process.pid)))

    def test_hang(self):
        done = self.kill_decoder(signal.SIGSTOP)
        self.assertEqual((done["status"], done["error"]["code"]), ("failed", "decoder_timeout"))
        self.assertTrue(until(lambda: not children(self.server.process.pid)))


class ConfinementTest(unittest.TestCase):
    """What the decoding process can do."""

    @unittest.skipUnless(FFMPEG, "needs ffmpeg")
    def test_filter_is_on(self):
        with tempfile.TemporaryFile() as file:
            file.write(video("-preset", "ultrafast", frames=300, size="640x480"))
            file.seek(0)
            process = subprocess.Popen(
                [SWAN, "decode-worker", "--picture-pixels", "1000000", "--video-pixels", "1000000", "--frames", "1000",
                 "--memory", str(1 << 30), "--seconds", "60"], stdin=file, stdout=subprocess.PIPE)
        try:
            kind, length = struct.unpack("<II", process.stdout.read(8))
            self.assertEqual((kind, json.loads(process.stdout.read(length))["width"]), (1, 640))
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            self.assertIn("Seccomp:\t2", status)
            self.assertIn("NoNewPrivs:\t1", status)
            limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text()
            self.assertRegex(limits, r"Max open files\s+3 ")
            self.assertRegex(limits, r"Max cpu time\s+60 ")
            self.assertNotRegex(limits, r"Max address space\s+unlimited")
            self.assertEqual(sorted(os.listdir(f"/proc/{process.pid}/fd"))[:3], ["0", "1", "2"])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


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
        pathlib.Path(small, "filler").write_bytes(bytes(5_400_000))
        answer = case.upload(png(64, 64), "a.png", size="512x512", seconds=60)
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
