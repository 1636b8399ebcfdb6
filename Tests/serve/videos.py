"""What the tests of jobs (/v1/videos) share: a server, requests, and files of all kinds."""
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

from clients import Client, until
from test_realtime import Swan


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
