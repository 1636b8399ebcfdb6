"""`swan mcp` and the client of the PyPI package mcp, in both kinds of the protocol; skipped without it."""
import asyncio
import base64
import io
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from clients import ROOT
from test_realtime import SWAN

try:
    from mcp import Client, StdioServerParameters
    from PIL import Image, ImageStat
except ImportError:
    Client = None

OPTIONS = ["mcp", "--device", "cpu", "--dtype", "float32", "--overcommit"]
SAMPLE = ROOT / ".deps/media/bigbuckbunny.mp4"
NAMES = {"start", "prompt", "parameters", "grab_frame", "metrics", "stop", "models", "styles"}


def clip(path, width=192, height=128):
    """A video of two seconds at 12 frames per second: a red square that moves over blue."""
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F12:1 Ip A1:1 C420jpeg\n" % (width, height))
        for number in range(24):
            file.write(b"FRAME\n")
            for scale, back, square in [(1, 90, 90), (2, 190, 90), (2, 80, 220)]:
                plane = bytearray([back]) * (width // scale * height // scale)
                for y in range(20 // scale, 70 // scale):
                    start = y * (width // scale) + (10 + 2 * number) // scale
                    plane[start:start + 50 // scale] = bytes([square]) * (50 // scale)
                file.write(plane)


@unittest.skipIf(Client is None, "mcp or Pillow is not installed")
class MCPTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.root = self.folder / "root"
        self.root.mkdir()
        clip(self.root / "clip.y4m")

    def run_client(self, body, mode="auto"):
        async def run():
            server = StdioServerParameters(command=SWAN, args=[*OPTIONS, "--root", str(self.root)])
            async with Client(server, mode=mode, read_timeout_seconds=90) as client:
                await body(client)
        asyncio.run(asyncio.wait_for(run(), 240))

    async def call(self, client, tool, **arguments):
        """The text, data and picture of a result."""
        result = await client.call_tool(tool, arguments)
        text = result.content[0].text
        self.assertFalse(result.is_error, text)
        pictures = [base64.b64decode(block.data) for block in result.content if block.type == "image"]
        return text, result.structured_content, pictures

    async def error(self, client, tool, **arguments):
        result = await client.call_tool(tool, arguments)
        self.assertTrue(result.is_error, result.content)
        self.assertNotIn(str(self.root), result.content[0].text)
        return result.content[0].text

    async def picture(self, client, **arguments):
        _, _, pictures = await self.call(client, "grab_frame", wait_seconds=60, **arguments)
        return Image.open(io.BytesIO(pictures[0])).convert("RGB")

    def session(self, mode):
        async def body(client):
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            self.assertEqual(set(tools), NAMES)
            self.assertEqual(tools["start"].input_schema["required"], ["source"])
            self.assertFalse(tools["start"].input_schema["additionalProperties"])
            _, styles, _ = await self.call(client, "styles")
            self.assertIn("sepia", [style["name"] for style in styles["styles"]])
            _, models, _ = await self.call(client, "models")
            self.assertEqual(models["models"][0]["id"], "tiny")

            _, started, _ = await self.call(client, "start", source="clip.y4m", prompt="no change", height=128, seed=3)
            self.assertEqual((started["width"], started["height"], started["fps"]), (192, 128, 12))
            plain = await self.picture(client)
            self.assertEqual(plain.size, (192, 128))
            red, _, blue = ImageStat.Stat(plain).mean
            self.assertGreater(blue, red + 20)

            _, applied, _ = await self.call(client, "prompt", prompt="sepia")
            self.assertGreater(applied["chunk"], 0)
            red, _, blue = ImageStat.Stat(await self.picture(client)).mean
            self.assertGreater(red, blue + 10)

            await self.call(client, "parameters", steps=1, noise_scale=0.2, fixed_noise=True)
            weighted = [{"text": "sepia", "weight": 1}, {"text": "sketch", "weight": 3}]
            await self.call(client, "prompt", prompts=weighted, transition=2, session=started["session"])
            _, metrics, _ = await self.call(client, "metrics")
            self.assertGreater(metrics["frames_out"], 0)
            await self.call(client, "stop")
            self.assertIn("start", await self.error(client, "grab_frame"))
        self.run_client(body, mode)

    def test_a_session_without_handshake(self):
        self.session("2026-07-28")

    def test_a_session_that_negotiates(self):
        self.session("auto")

    def test_a_session_with_handshake(self):
        self.session("legacy")

    @unittest.skipUnless(SAMPLE.exists(), "the sample clip is not installed")
    def test_the_sample_clip(self):
        (self.root / "sample.mp4").write_bytes(SAMPLE.read_bytes())

        async def body(client):
            await self.call(client, "start", source="sample.mp4", prompt="pencil sketch", width=128, height=128)
            frame = await self.picture(client)
            self.assertEqual(frame.size, (128, 128))
            self.assertLess(ImageStat.Stat(frame.convert("HSV")).mean[1], 60)
        self.run_client(body)

    def test_several_sessions_and_pictures(self):
        Image.new("RGB", (64, 64), (200, 60, 40)).save(self.root / "red.png")

        async def body(client):
            first = (await self.call(client, "start", source="red.png", fps=30, prompt="sepia"))[1]
            second = (await self.call(client, "start", source=str(self.root / "clip.y4m"), width=64, height=64))[1]
            self.assertEqual((first["fps"], second["width"]), (30, 64))
            self.assertIn("which", await self.error(client, "metrics"))
            for session in (first, second):
                await self.picture(client, session=session["session"])
            await self.call(client, "stop", session=first["session"])
            self.assertEqual((await self.picture(client)).size, (64, 64))
        self.run_client(body)

    def test_wrong_calls_are_explained(self):
        (self.folder / "secret.mp4").write_bytes((self.root / "clip.y4m").read_bytes())
        (self.root / "out.mp4").symlink_to(self.folder / "secret.mp4")
        (self.root / "list.mp4").write_text("ffconcat version 1.0\nfile clip.y4m\n")
        (self.root / "text.png").write_text("no picture")
        os.mkfifo(self.root / "pipe.mp4")

        async def body(client):
            for source, word in [("../secret.mp4", "'..'"), (str(self.folder / "secret.mp4"), "outside"),
                                 ("out.mp4", "outside"), ("none.mp4", "none.mp4"), ("list.mp4", "list.mp4"),
                                 ("text.png", "text.png"), ("pipe.mp4", "pipe.mp4"), (".", "."), ("", "name a file"),
                                 ("/dev/zero", "outside"), ("http://127.0.0.1:1/a.mp4", "No such file")]:
                self.assertIn(word, await self.error(client, "start", source=source))
            for tool, arguments, word in [
                ("start", {}, "source"), ("start", {"source": "clip.y4m", "speed": 2}, "speed"),
                ("start", {"source": "clip.y4m", "steps": 99}, "steps"), ("start", {"source": "clip.y4m", "fps": 0}, "fps"),
                ("start", {"source": "clip.y4m", "width": 63}, "63"), ("prompt", {"prompt": "x"}, "start"),
                ("start", {"source": "clip.y4m", "noise_scale": 3}, "noise_scale"), ("styles", {"all": True}, "arguments"),
                ("start", {"source": "clip.y4m", "seed": -1}, "seed: must be a whole number from 0"),
                ("start", {"source": "clip.y4m", "fit": "foo"}, "fit: must be crop, pad or stretch"),
            ]:
                self.assertIn(word, await self.error(client, tool, **arguments))
            await self.call(client, "start", source="clip.y4m", width=64, height=64)
            self.assertIn("steps", await self.error(client, "parameters", steps=99))
            self.assertIn("prompt", await self.error(client, "prompt"))
            self.assertIn("nobody", await self.error(client, "stop", session="nobody"))
            await self.picture(client)
        self.run_client(body)


class LinesTest(unittest.TestCase):
    """The protocol, line by line."""

    def start(self):
        process = subprocess.Popen([SWAN, *OPTIONS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def test_wrong_lines_are_answered(self):
        process = self.start()
        lines = ["{", "[]", "5", '{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
                 '{"jsonrpc": "2.0", "id": [], "method": "ping"}', "[" * 100_000, "x" * (5 << 20), "",
                 '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
                 '{"jsonrpc": "2.0", "id": "a", "method": "fly"}',
                 '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "fly"}}',
                 '{"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {"_meta": '
                 '{"io.modelcontextprotocol/protocolVersion": "1999-01-01"}}}',
                 '{"jsonrpc": "2.0", "id": 4, "method": "ping"}']
        output, _ = process.communicate("\n".join(lines) + "\n", timeout=60)
        answers = [json.loads(line) for line in output.splitlines()]
        codes = [answer["error"]["code"] for answer in answers if answer["id"] is None]
        self.assertEqual(codes, [-32700, -32600, -32600, -32600, -32600, -32700, -32600])
        found = {answer["id"]: answer for answer in answers if answer["id"] is not None}
        self.assertEqual(found["a"]["error"]["code"], -32601)
        self.assertEqual(found[2]["error"]["code"], -32602)
        self.assertEqual(found[3]["error"]["code"], -32022)
        self.assertEqual(found[4]["result"], {})
        self.assertEqual(process.returncode, 0)

    def test_it_ends_with_its_input_or_a_signal(self):
        process = self.start()
        process.stdin.close()
        self.assertEqual(process.wait(30), 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start()
            process.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["id"], 1)
            process.send_signal(number)
            self.assertEqual(process.wait(30), 0)
            process.stdin.close()

    def test_the_folder_must_exist(self):
        run = subprocess.run([SWAN, "mcp", "--root", "/nowhere"], capture_output=True, text=True, timeout=60,
                             stdin=subprocess.DEVNULL)
        self.assertEqual((run.returncode, run.stdout), (66, ""))


if __name__ == "__main__":
    unittest.main()
