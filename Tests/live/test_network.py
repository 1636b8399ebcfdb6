"""`swan stream` between two ffmpeg processes: TCP, UDP, SRT, RTMP, RTSP and HLS."""
import json
import signal
import socket
import subprocess
import unittest

from tools import (
    H264, Folder, Serving, events, ffmpeg, frames_in, free_port, needs, shown, swan, test_pattern,
)


@needs("ffmpeg", "ffprobe")
class LoopTests(Folder):
    """A sender, `swan stream`, and a receiver that records."""

    def loop(self, sender, source, output, receiver, frames=20):
        recording = self.path("out.mkv")
        recorder = ffmpeg(self, *receiver, "-c", "copy", "-y", recording)
        program = swan(self, source, "-o", output, "--reconnect", "20", "--bitrate", "400k",
                       "--json", self.path("sum.json"))
        sending = ffmpeg(self, *test_pattern(), *H264, *sender)
        program.until(lambda text: shown(text) >= frames, f"{frames} frames")
        self.assertEqual(program.stop(), 130, program.text)
        self.expect_figures(program.text)
        recorder.wait()
        sending.kill()
        stream = frames_in(recording)
        self.assertEqual(stream["codec_name"], "h264")
        self.assertGreaterEqual(int(stream["nb_read_frames"]), frames - 4)
        with open(self.path("sum.json"), encoding="utf-8") as file:
            summary = json.load(file)
        self.assertTrue(summary["was_interrupted"])
        self.assertGreater(summary["live"]["latency_ms"]["p50"], 0)
        return summary

    def test_tcp(self):
        first, second = free_port(), free_port()
        self.loop(
            ["-f", "mpegts", f"tcp://127.0.0.1:{first}?listen=1"],
            f"tcp://127.0.0.1:{first}",
            f"tcp://127.0.0.1:{second}",
            ["-i", f"tcp://127.0.0.1:{second}?listen=1"])

    def test_udp(self):
        first, second = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        # A receiver of UDP does not learn that the stream ended; it gives up after a second.
        self.loop(
            ["-f", "mpegts", f"udp://127.0.0.1:{first}?pkt_size=1316"],
            f"udp://127.0.0.1:{first}",
            f"udp://127.0.0.1:{second}",
            ["-rw_timeout", "20000000", "-i", f"udp://127.0.0.1:{second}?timeout=20000000",
             "-frames:v", "20"])

    def test_srt(self):
        first, second = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.loop(
            ["-f", "mpegts", f"srt://127.0.0.1:{first}?mode=caller&connect_timeout=20000"],
            f"srt://127.0.0.1:{first}?listen",
            f"srt://127.0.0.1:{second}",
            ["-i", f"srt://127.0.0.1:{second}?mode=listener"])

    def test_rtmp(self):
        first, second = free_port(), free_port()
        summary = self.loop(
            ["-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{first}/live/one"],
            f"rtmp://127.0.0.1:{first}/live/one",
            f"rtmp://127.0.0.1:{second}/live/secret",
            ["-listen", "1", "-i", f"rtmp://127.0.0.1:{second}/live/secret"])
        self.assertNotIn("secret", json.dumps(summary))

    def test_rtsp(self):
        # ffmpeg serves no RTSP, but both programs can wait for a sender.
        first, second = free_port(), free_port()
        recording = self.path("out.mkv")
        recorder = ffmpeg(self, "-rtsp_flags", "listen", "-i", f"rtsp://127.0.0.1:{second}/two",
                          "-c", "copy", "-y", recording)
        program = swan(self, f"rtsp://127.0.0.1:{first}/one?listen",
                       "-o", f"rtsp://127.0.0.1:{second}/two")
        program.until(lambda text: "waiting for a sender" in text, "listening")
        sender = ffmpeg(self, *test_pattern(), *H264, "-f", "rtsp", "-rtsp_transport", "tcp",
                        f"rtsp://127.0.0.1:{first}/one")
        program.until(lambda text: shown(text) >= 20, "20 frames")
        self.assertEqual(program.stop(), 130, program.text)
        recorder.wait()
        sender.kill()
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 16)


@needs("ffmpeg", "ffprobe")
class LossTests(Folder):
    def test_a_source_that_is_not_there(self):
        program = swan(self, f"tcp://127.0.0.1:{free_port()}", "-o", self.path("out.mp4"))
        self.assertEqual(program.wait(), 69)
        self.assertIn("refused", program.text)

    def test_a_receiver_that_is_not_there(self):
        clip = self.path("in.y4m")
        subprocess.run(["ffmpeg", "-v", "error", *test_pattern(seconds=2, realtime=False), clip],
                       check=True, timeout=30)
        program = swan(self, clip, "-o", f"rtmp://127.0.0.1:{free_port()}/live/secret")
        self.assertEqual(program.wait(), 69)
        self.assertIn("refused", program.text)
        self.assertNotIn("secret", program.text)

    def test_a_sender_that_ends_completes_the_file(self):
        port = free_port()
        recording = self.path("out.mp4")
        program = swan(self, f"tcp://127.0.0.1:{port}?listen", "-o", recording)
        program.until(lambda text: "waiting for a sender" in text, "listening")
        ffmpeg(self, *test_pattern(seconds=3), *H264, "-f", "mpegts", f"tcp://127.0.0.1:{port}")
        self.assertEqual(program.wait(), 0, program.text)
        # A slow machine drops most of them, and what it keeps is as long as what it shows.
        self.assertGreater(int(frames_in(recording)["nb_read_frames"]), 4)

    def test_other_protocols_do_not_tell_an_end_from_a_loss(self):
        for scheme, kind, sending in [
            ("rtmp", socket.SOCK_STREAM, ["-f", "flv"]),
            ("srt", socket.SOCK_DGRAM, ["-f", "mpegts"]),
            ("udp", socket.SOCK_DGRAM, ["-f", "mpegts"]),
        ]:
            with self.subTest(scheme):
                port = free_port(kind)
                recording = self.path(f"{scheme}.mp4")
                # RTMP listens without a check of the key, so any will do.
                name = f"{scheme}://127.0.0.1:{port}" + ("/live/key" if scheme == "rtmp" else "")
                source = name + ("" if scheme == "udp" else "?listen")
                program = swan(self, source, "-o", recording)
                if scheme == "udp":
                    program.until(lambda text: "loading" in text, "the start")
                else:
                    program.until(lambda text: "waiting for a sender" in text, "listening")
                other = name.replace("/live/key", "/live/other")
                ffmpeg(self, *test_pattern(seconds=6), *H264, *sending, other)
                self.assertEqual(program.wait(), 74, program.text)
                self.assertRegex(program.text, "the other side ended|no video for 10 seconds")
                self.assertNotRegex(program.text, "Input/output error|Immediate exit|key|other/")
                self.assertGreater(int(frames_in(recording)["nb_read_frames"]), 4)

    def test_a_lost_source_keeps_what_was_recorded(self):
        port = free_port()
        recording = self.path("out.mp4")
        with socket.create_server(("127.0.0.1", port)) as server:
            program = swan(self, f"tcp://127.0.0.1:{port}", "-o", recording)
            peer, _ = server.accept()
        sender = ffmpeg(self, *test_pattern(), *H264, "-f", "mpegts", "-", stdout=peer.fileno())
        program.until(lambda text: shown(text) >= 8, "8 frames")
        sender.kill()
        # Zero seconds of lingering make the end of the connection a reset.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        self.assertEqual(program.wait(), 74, program.text)
        self.assertIn("lost", program.text)
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 8)

    def test_reconnecting(self):
        port = free_port()
        program = swan(self, f"tcp://127.0.0.1:{port}", "-o", self.path("out.mp4"),
                       "--reconnect", "30")
        address = f"tcp://127.0.0.1:{port}?listen=1"
        first = ffmpeg(self, *test_pattern(), *H264, "-f", "mpegts", address)
        program.until(lambda text: shown(text) >= 8, "8 frames")
        first.kill()
        program.until(lambda text: "connecting again" in text, "the loss")
        before = shown(program.text)
        ffmpeg(self, *test_pattern(size="160x96"), *H264, "-f", "mpegts", address)
        program.until(lambda text: "connected again" in text, "the connection")
        program.until(lambda text: shown(text) >= before + 8, "8 more frames")
        self.assertEqual(program.stop(), 130)

    def test_a_receiver_that_leaves(self):
        port = free_port()
        clip = self.path("in.mp4")
        subprocess.run(["ffmpeg", "-v", "error", *test_pattern(realtime=False), *H264, clip],
                       check=True, timeout=30)
        with socket.create_server(("127.0.0.1", port)) as server:
            program = swan(self, clip, "-o", f"tcp://127.0.0.1:{port}")
            server.settimeout(60)
            peer, _ = server.accept()
        peer.recv(1000)
        peer.close()
        self.assertEqual(program.wait(), 74, program.text)
        self.assertIn("receiver closed the connection", program.text)

    def test_signals_end_the_wait_for_a_sender(self):
        program = swan(self, f"tcp://127.0.0.1:{free_port()}?listen", "-o", self.path("out.mp4"))
        program.until(lambda text: "waiting for a sender" in text, "listening")
        self.assertEqual(program.stop(signal.SIGTERM), 143)


@needs("ffmpeg")
class WebTests(Folder):
    def hls(self, text):
        """Serves a playlist and returns its URL and the server."""
        with open(self.path("live.m3u8"), "w", encoding="utf-8") as file:
            file.write(text)
        server = Serving(self, self.folder)
        return f"http://127.0.0.1:{server.port}/live.m3u8", server

    def test_hls(self):
        subprocess.run(
            ["ffmpeg", "-v", "error", *test_pattern(seconds=20, realtime=False), *H264, "-f", "hls",
             "-hls_time", "1", "-hls_playlist_type", "vod", self.path("live.m3u8")],
            check=True, timeout=30)
        server = Serving(self, self.folder)
        program = swan(self, f"http://127.0.0.1:{server.port}/live.m3u8", "-o", self.path("o.mp4"),
                       "--max-frames", "17")
        self.assertEqual(program.wait(), 0, program.text)
        self.expect_figures(program.text)
        self.assertIn("/live1.ts", server.requests)

    def test_playlists_open_no_files(self):
        secret = self.path("secret.ts")
        subprocess.run(["ffmpeg", "-v", "error", *test_pattern(seconds=2, realtime=False), *H264,
                        secret], check=True, timeout=30)
        head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
        for name in ["file:///etc/passwd", f"file://{secret}", secret, f"concat:{secret}",
                     f"subfile,,start,0,end,0,,:{secret}"]:
            with self.subTest(name):
                url, _ = self.hls(f"{head}{name}\n#EXT-X-ENDLIST\n")
                program = swan(self, url, "-o", self.path("out.mp4"))
                self.assertIn(program.wait(), (65, 69), program.text)
                self.assertEqual(shown(program.text), 0)

    def test_playlists_open_no_other_protocols(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.1)
            port = server.getsockname()[1]
            for scheme in ["tcp", "crypto+tcp", "rtmp", "srt"]:
                with self.subTest(scheme):
                    url, _ = self.hls("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
                                      f"{scheme}://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n")
                    program = swan(self, url, "-o", self.path("out.mp4"))
                    self.assertIn(program.wait(), (65, 69), program.text)
                    with self.assertRaises(TimeoutError):
                        server.accept()

    def test_files_open_no_network(self):
        server = Serving(self, self.folder)
        playlist = self.path("local.m3u8")
        with open(playlist, "w", encoding="utf-8") as file:
            file.write(f"#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:{server.port}/a.ts\n")
        program = swan(self, playlist, "-o", self.path("out.mp4"))
        self.assertEqual(program.wait(), 65)
        self.assertEqual(server.requests, [])

    def test_a_page_is_no_video(self):
        with open(self.path("page.html"), "w", encoding="utf-8") as file:
            file.write("<html><body>no video</body></html>")
        server = Serving(self, self.folder)
        base = f"http://127.0.0.1:{server.port}"
        page = swan(self, f"{base}/page.html", "-o", self.path("out.mp4"))
        self.assertEqual(page.wait(), 65, page.text)
        missing = swan(self, f"{base}/missing.m3u8", "-o", self.path("out.mp4"))
        self.assertEqual(missing.wait(), 69, missing.text)
        self.assertIn("404", missing.text)


@needs("ffmpeg", "ffprobe")
class PipeTests(Folder):
    def test_y4m_through_pipes(self):
        sender = subprocess.Popen(
            ["ffmpeg", "-v", "error", *test_pattern(seconds=2, realtime=False), "-f",
             "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
        self.addCleanup(sender.wait)
        recording = self.path("out.y4m")
        with open(recording, "wb") as file:
            program = swan(self, "-", "-o", "-", stdin=sender.stdout, stdout=file)
            sender.stdout.close()
            self.assertEqual(program.wait(), 0, program.text)
        self.assertEqual(int(frames_in(recording)["nb_read_frames"]), 24)

    def test_a_live_pipe(self):
        sender = subprocess.Popen(
            ["ffmpeg", "-v", "quiet", *test_pattern(seconds=60), "-f", "yuv4mpegpipe", "-"],
            stdout=subprocess.PIPE)
        self.addCleanup(sender.wait)
        program = swan(self, "-", "--live", "--max-frames", "9", "-o", self.path("out.mp4"),
                       stdin=sender.stdout)
        sender.stdout.close()
        self.assertEqual(program.wait(), 0, program.text)
        self.expect_figures(program.text)
        self.assertIn("done", [event["event"] for event in events(program.text)])

    def test_a_live_pipe_that_ends_before_the_model_is_loaded(self):
        clip, recording = self.path("in.y4m"), self.path("out.mp4")
        subprocess.run(["ffmpeg", "-v", "error", *test_pattern(seconds=2, realtime=False), clip],
                       check=True, timeout=30)
        with open(clip, "rb") as file:
            program = swan(self, "-", "--live", "-o", recording, stdin=file)
        self.assertEqual(program.wait(), 0, program.text)
        # All of its frames arrived in one moment, which is how long the recording is.
        self.assertGreaterEqual(int(frames_in(recording)["nb_read_frames"]), 1)


if __name__ == "__main__":
    unittest.main()
