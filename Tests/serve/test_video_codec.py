"""H.264 of `swan serve`, both ways, with FFmpeg's program as the peer that encodes and decodes."""
import json
import shutil
import subprocess
import threading
import unittest

from clients import Client, until
from test_realtime import Session, Swan, picture

FFMPEG = shutil.which("ffmpeg")
JPEG, PNG, H264 = 1, 2, 3
KEY_FRAME = 1
SIZE = 64


def ffmpeg(*arguments, data=b""):
    """What FFmpeg writes to its output; damage in its input is an error."""
    run = subprocess.run(
        [FFMPEG, "-v", "error", *arguments, "pipe:1"], input=data, capture_output=True, timeout=60)
    if run.returncode or run.stderr:
        raise AssertionError(run.stderr.decode())
    return run.stdout


def encoded(count):
    """Access units of a test picture, with a key frame every 8 frames."""
    stream = ffmpeg(
        "-f", "lavfi", "-i", f"testsrc=size={SIZE}x{SIZE}:rate=16", "-frames:v", str(count),
        "-c:v", "libx264", "-profile:v", "baseline", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
        "-g", "8", "-x264-params", "aud=1:scenecut=0", "-f", "h264")
    delimiter = b"\x00\x00\x00\x01\x09"
    return [delimiter + unit for unit in stream.split(delimiter)[1:]]


def decoded(stream):
    """The RGB frames of a stream."""
    rgb = ffmpeg("-f", "h264", "-i", "pipe:0", "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo",
                 data=stream)
    size = 3 * SIZE * SIZE
    return [rgb[at:at + size] for at in range(0, len(rgb), size)]


@unittest.skipUnless(FFMPEG, "needs ffmpeg")
class VideoCodecTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Swan()
        cls.addClassCleanup(cls.server.stop)
        cls.units = encoded(96)

    def setUp(self):
        self.assertTrue(until(lambda: json.loads(self.get("/readyz")[2])["sessions"] == 0, 40))

    def get(self, path):
        with Client(self.server) as client:
            return client.request(path=path).response()

    def session(self, **settings):
        return Session(self, self.server, **settings)

    def exchange(self, session, count, pictures, codec=JPEG):
        """Sends pictures in turn, like a camera, until `count` more frames have come back."""
        goal = len(session.frames) + count
        done = threading.Event()

        def send():
            while not done.wait(0.03):
                session.put(pictures[session.sequence % len(pictures)], codec)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            session.wait_frames(goal)
        finally:
            done.set()
            sender.join()

    def test_frames_come_back_as_h264(self):
        session = self.session(output="h264")
        self.exchange(session, 13, [picture()])
        stream = b"".join(frame[-1] for frame in session.frames)
        self.assertEqual({frame[2] for frame in session.frames}, {H264})
        self.assertEqual([frame[3] for frame in session.frames], [KEY_FRAME] + [0] * (len(session.frames) - 1))
        self.assertEqual(len(decoded(stream)), len(session.frames))
        session.send(type="stop")

    def test_h264_looks_like_the_lossless_frames(self):
        """The same frames and seed, as PNG and as H.264."""
        results = []
        for output, codec in (("png", PNG), ("h264", H264)):
            session = self.session(output=output, bitrate=4_000_000)
            # As many as the first chunk takes: none is dropped, so that both sessions see the same ones.
            for _ in range(4):
                session.put(picture())
            session.wait_frames(4)
            self.assertEqual({frame[2] for frame in session.frames}, {codec})
            results.append(session.frames)
            session.send(type="stop")
        pictures = [ffmpeg("-f", "png_pipe", "-i", "pipe:0", "-pix_fmt", "rgb24", "-f", "rawvideo", data=frame[-1])
                    for frame in results[0]]
        video = decoded(b"".join(frame[-1] for frame in results[1]))
        self.assertEqual(len(pictures), len(video))
        for lossless, frame in zip(pictures, video):
            errors = [abs(a - b) for a, b in zip(lossless, frame)]
            self.assertLess(sum(errors) / len(errors), 8)

    def test_key_frames_on_request(self):
        session = self.session(output="h264")
        self.exchange(session, 5, [picture()])
        session.send(type="keyframe")
        self.exchange(session, 17, [picture()])
        keys = [number for number, frame in enumerate(session.frames) if frame[3] & KEY_FRAME]
        self.assertEqual(len(keys), 2, keys)
        # Decoding can begin there.
        later = session.frames[keys[1]:]
        self.assertEqual(len(decoded(b"".join(frame[-1] for frame in later))), len(later))
        session.send(type="stop")

    def test_a_new_connection_begins_with_a_key_frame(self):
        session = self.session(output="h264")
        self.exchange(session, 9, [picture()])
        session.client.__exit__()
        again = Session(self, self.server, f"/v1/realtime?session={session.ready['session']}", start=False)
        again.sequence = session.sequence
        self.exchange(again, 8, [picture()])
        self.assertEqual(again.frames[0][3], KEY_FRAME)
        self.assertEqual(len(decoded(b"".join(frame[-1] for frame in again.frames))), len(again.frames))
        again.send(type="stop")

    def test_h264_is_taken(self):
        session = self.session()
        self.exchange(session, 21, self.units, H264)
        stats = session.wait("stats")
        self.assertEqual(stats["dropped"]["damaged"], 0)
        self.assertEqual({frame[2] for frame in session.frames}, {JPEG})
        # A moving picture went in, so it moves.
        self.assertGreater(len({frame[-1] for frame in session.frames}), 10)
        session.send(type="stop")

    def test_pause_is_a_gap(self):
        """Frames that are ignored are missing from the stream: the next one must be a key frame."""
        session = self.session()
        self.exchange(session, 9, self.units, H264)
        session.send(type="update", paused=True)
        session.put(self.units[1], H264)
        session.send(type="update", paused=False)
        for number in range(2, 8):
            session.put(self.units[number], H264)
        session.wait("keyframe")
        self.exchange(session, 8, self.units, H264)
        session.send(type="stop")

    def test_damage_is_answered_by_a_request_for_a_key_frame(self):
        session = self.session()
        self.exchange(session, 9, self.units, H264)
        for damaged in [b"", b"\x00\x00\x01\x65" + b"\xff" * 40, self.units[0][:30], b"no video" * 9] * 3:
            session.put(damaged, H264)
        session.wait("keyframe")
        session.sequence = 0
        self.exchange(session, 16, self.units, H264)
        while session.wait("stats")["dropped"]["damaged"] == 0:
            pass
        session.send(type="stop")

    def test_png_is_taken_and_returned(self):
        png = ffmpeg("-f", "lavfi", "-i", f"testsrc=size={SIZE}x{SIZE}", "-frames:v", "1", "-f", "image2pipe",
                     "-c:v", "png")
        session = self.session(output="png")
        self.exchange(session, 9, [png], PNG)
        for frame in session.frames:
            self.assertEqual((frame[2], frame[-1][:4]), (PNG, b"\x89PNG"))
        self.assertEqual(session.wait("stats")["dropped"]["damaged"], 0)
        session.send(type="stop")

    def test_motion_jpeg_of_an_h264_session_is_jpeg(self):
        session = self.session(output="h264")
        watcher = Client(self.server, timeout=20)
        self.addCleanup(watcher.__exit__)
        watcher.request(path=f"/v1/realtime/sessions/{session.ready['session']}/mjpeg")
        self.exchange(session, 21, [picture()])
        while watcher.buffer.count(b"Content-Type: image/jpeg\r\n") < 3:
            watcher.fill()
        self.assertGreaterEqual(watcher.buffer.count(b"\r\n\r\n\xff\xd8\xff"), 2)
        self.assertEqual({frame[2] for frame in session.frames}, {H264})
        session.send(type="stop")


if __name__ == "__main__":
    unittest.main()
