"""Requests for jobs that are wrong, uploads that are hostile, and the process that decodes them."""
import base64
import http.server
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import tempfile
import threading
import unittest
import zlib

from clients import until
from test_realtime import SWAN
from videos import BOUNDARY, FFMPEG, VideoCase, children, form, png, video


class RefusalTest(VideoCase):
    """Requests that are wrong."""

    def post_json(self, body):
        return self.request("POST", "/v1/videos", body.encode(), Content_Type="application/json")

    def test_wrong_parameters(self):
        data = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()
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
        for name, value in [("seed", "-1"), ("seed", "1e30"), ("steps", "1.5"), ("noise_scale", "1e400")]:
            # In a form, 1e400 is a text.
            error = self.refused(self.post({f"settings[{name}]": value}, picture), 400)
            self.assertEqual(error["param"].split(".")[0], "settings", error)
            body = f'{{"prompt": "a", "settings": {{"{name}": {value}}}, "input_reference": {{"image_url": "{data}"}}}}'
            self.assertEqual(self.refused(self.post_json(body), 400)["param"], "settings")
        for name, value in [("max_frames", "1e30"), ("max_frames", "1.5"), ("fps", "1e400"), ("control_scale", "1e400")]:
            error = self.refused(self.post_json(f'{{"prompt": "a", "{name}": {value}}}'), 400)
            self.assertEqual(error["param"], name, error)
            self.assertIn("must be", error["message"])
        error = self.refused(self.post_json('{"prompt": "a", "prompt_at": [{"frame": 1e30, "prompt": "b"}]}'), 400)
        self.assertEqual(error["param"], "prompt_at", error)
        error = self.refused(self.post({"size": "256x256", "settings[width]": "128"}, picture), 400)
        self.assertEqual(error["param"], "size", error)
        error = self.refused(self.post({"control_scale": "0.5"}, picture), 400)
        self.assertEqual(error["param"], "control_scale", error)
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
        for _ in range(int(os.environ.get("CASES", "10"))):
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

    def test_errors_name_the_limit_and_the_parameter_of_their_route(self):
        json_body = b'{"prompt": "' + b"x" * (33 << 20) + b'"}'
        error = self.refused(self.post_json_bytes("/v1/videos", json_body), 413, "body_too_large")
        self.assertIn(str(32 << 20), error["message"])
        job = self.accepted(self.upload(png(64, 64), "a.png", size="64x64", max_frames=1))
        path = f"/v1/videos/{job}/remix"
        error = self.refused(self.post_json_bytes(path, b'{"prompt": "' + b"x" * (200 << 10) + b'"}'), 413, "body_too_large")
        self.assertIn(str(128 << 10), error["message"])
        error = self.refused(self.post_json_bytes(path, b'{"prompt": "sepia", "seconds": 3}'), 400, "unknown_parameter")
        self.assertEqual(error["param"], "seconds")

    def post_json_bytes(self, path, body):
        return self.request("POST", path, body, Content_Type="application/json")


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


if __name__ == "__main__":
    unittest.main()
