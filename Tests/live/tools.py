"""Runs `swan stream` between ffmpeg processes and an X server, each test in bounded time."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWAN = os.environ.get("SWAN_PROGRAM", str(ROOT / ".build/debug/swan"))
LIMIT = 60


def needs(*programs):
    """Skips a test where a program is missing, unless SWAN_REQUIRE_PEERS=1."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing and os.environ.get("SWAN_REQUIRE_PEERS") == "1":
        raise RuntimeError(f"SWAN_REQUIRE_PEERS=1, but these are missing: {' '.join(missing)}")
    return unittest.skipIf(missing, f"not installed: {' '.join(missing)}")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A process whose standard error is collected, and that is killed at the end of its test."""

    def __init__(self, test, command, **settings):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        environment.update(settings.pop("environment", {}))
        self.command = command
        self.errors = tempfile.TemporaryFile("w+")
        settings.setdefault("stdin", subprocess.DEVNULL)
        settings.setdefault("stdout", subprocess.DEVNULL)
        self.process = subprocess.Popen(
            command, stderr=self.errors, env=environment, **settings)
        test.addCleanup(self.kill)

    @property
    def text(self):
        """What the process wrote to standard error so far."""
        self.errors.flush()
        path = f"/proc/self/fd/{self.errors.fileno()}"
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, timeout=LIMIT):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} did not end; it wrote:\n{self.text}") from None

    def until(self, condition, what, timeout=LIMIT):
        """Waits until the text on standard error fulfils a condition."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if condition(self.text):
                return
            if self.process.poll() is not None and not condition(self.text):
                break
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen; {self.command} wrote:\n{self.text}")

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


def swan(test, source, *options, **settings):
    """Starts `swan stream` with JSON progress."""
    inputs = [source] if source is not None else []
    command = [SWAN, "stream", *inputs, "--prompt", "sepia", "--progress", "json", *options]
    return Process(test, command, **settings)


def ffmpeg(test, *options, **settings):
    return Process(test, ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", *options],
                   **settings)


def test_pattern(rate=12, size="128x128", seconds=30, realtime=True):
    """ffmpeg's options for a moving picture."""
    pace = ["-re"] if realtime else []
    return [*pace, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "12",
        "-pix_fmt", "yuv420p"]


def events(text):
    """The JSON lines of `swan`."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def shown(text):
    """The frames that came out so far."""
    return max([event.get("frames_out", 0) for event in events(text)], default=0)


def frames_in(path):
    """The number of frames of a file, decoded."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0",
               "-show_entries", "stream=nb_read_frames,codec_name,width,height", "-of", "json", path]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    return json.loads(answer.stdout)["streams"][0]


class Folder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="swan-live-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def expect_figures(self, text):
        """Progress of a live stream has rates, a latency and drops by cause."""
        streaming = [event for event in events(text)
                     if event["event"] == "progress" and event["stage"] == "streaming"]
        self.assertGreater(max(event["fps_in"] for event in streaming), 0)
        self.assertGreater(streaming[-1]["frames_out"], 0)
        self.assertEqual(set(streaming[-1]["drops"]), {"starting", "busy", "paused", "output", "early"})
        with_latency = [event for event in events(text) if event.get("latency_ms")]
        self.assertGreater(with_latency[-1]["latency_ms"]["p50"], 0)


class Serving:
    """A thread that serves one folder over HTTP."""

    def __init__(self, test, folder):
        import functools
        import http.server

        self.requests = []
        requests = self.requests

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                requests.append(self.path)

        handler = functools.partial(Handler, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_port
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        test.addCleanup(self.server.server_close)
        test.addCleanup(self.server.shutdown)
