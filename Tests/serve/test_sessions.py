"""What sessions of `swan serve` may ask for: capacity, modes, presentation, text alone, changes that race."""
import json
import tempfile
import time
import unittest
from urllib.parse import urlencode

from clients import ROOT, Client, until
from test_realtime import TEXT, Session, Swan, picture

# More than any machine restyles beside another session.
HUGE = {"width": 1280, "height": 720, "steps": 2, "fps": 120}


class SessionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Swan(overcommits=False)
        cls.picture = picture()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.assertTrue(until(lambda: self.sessions() == 0, 40))

    def get(self, path):
        with Client(self.server) as client:
            return client.request(path=path).response()

    def sessions(self):
        return json.loads(self.get("/readyz")[2])["sessions"]

    def session(self, **settings):
        return Session(self, self.server, **settings)

    # Capacity

    def test_a_session_that_does_not_fit_is_refused_before_the_upgrade(self):
        path = "/v1/realtime?" + urlencode(HUGE)
        # Alone, it may be slow.
        self.assertEqual(self.get(path)[0], 426)
        session = self.session()
        # The model is measured while the first session runs.
        self.assertTrue(until(lambda: self.get(path)[0] == 503, 60))
        client = Client(self.server)
        self.addCleanup(client.__exit__)
        status, headers, body = client.handshake(path).response()
        error = json.loads(body)["error"]
        self.assertEqual((status, error["code"]), (503, "capacity_exhausted"))
        self.assertGreater(int(headers["retry-after"]), 0)
        self.assertIn("1280x720 at 120 fps in 2 steps", error["message"])
        # What is said to fit does.
        fits = error.get("fits")
        if fits:
            self.assertEqual(self.get("/v1/realtime?" + urlencode(fits))[0], 426)
        session.send(type="stop")

    def test_a_start_that_does_not_fit_is_refused_with_what_would(self):
        settings = {"width": 1280, "height": 720, "steps": 2, "fps": 120}
        first = self.session()
        self.assertTrue(until(lambda: self.get("/v1/realtime?" + urlencode(HUGE))[0] == 503, 60))
        if self.get("/v1/realtime?" + urlencode(settings))[0] == 426:
            self.skipTest("this machine restyles 1280x720 at 120 fps beside another session")
        # While a session runs late, no other is admitted.
        if not until(lambda: self.get("/v1/realtime")[0] == 426, 30):
            self.skipTest("this machine does not keep the rate of one session")
        client = Client(self.server, timeout=30)
        self.addCleanup(client.__exit__)
        client.open("/v1/realtime")
        client.frame(TEXT, json.dumps({"type": "start", **settings}))
        error = json.loads(client.receive()[1])
        self.assertEqual((error["type"], error["code"]), ("error", "capacity_exhausted"))
        self.assertGreater(error["retry_after"], 0)
        if "fits" in error:
            self.assertEqual(set(error["fits"]), {"width", "height", "steps", "fps"})
        self.assertEqual(client.close_code(), 1013)
        self.assertEqual(self.sessions(), 1)
        first.send(type="stop")

    def test_a_waiting_session_gives_way_to_a_start_that_does_not_fit(self):
        first = self.session()
        self.assertTrue(until(lambda: self.get("/v1/realtime?" + urlencode(HUGE))[0] == 503, 60))
        name = first.ready["session"]
        first.client.socket.close()
        client = Client(self.server, timeout=60)
        self.addCleanup(client.__exit__)
        # Such a handshake asks for little. The server may learn of the loss after it.
        client.open("/v1/realtime")
        time.sleep(0.5)
        client.frame(TEXT, json.dumps({"type": "start", **HUGE}))
        ready = json.loads(client.receive()[1])
        self.assertEqual(ready["type"], "ready", ready)
        self.assertEqual(self.get(f"/v1/realtime/sessions/{name}/stats")[0], 404)
        client.frame(TEXT, json.dumps({"type": "stop"}))

    def test_wrong_parameters_are_named(self):
        for query, name in [
            ("width=0", "width"), ("fps=nan", "fps"), ("steps=x", "steps"), ("height=1e9", "height"),
            # What no session of this model can have, on however idle a server.
            ("steps=99", "steps"), ("steps=1.5", "steps"), ("width=17", "width"), ("height=250", "height"),
            ("width=4096&height=4096", "width"), ("height=16384", "height"),
        ]:
            with self.subTest(query):
                status, _, body = self.get("/v1/realtime?" + query)
                self.assertEqual((status, json.loads(body)["error"]["param"]), (400, name))
                client = Client(self.server)
                self.addCleanup(client.__exit__)
                self.assertEqual(client.handshake("/v1/realtime?" + query).response()[0], 400)
        self.assertEqual(self.get("/v1/realtime?width=128&height=64&steps=1&fps=16")[0], 426)

    # Text alone

    def test_text_alone_needs_a_model_for_it(self):
        self.assertTrue(json.loads(self.get("/v1/models")[2])["data"][0]["needs_input"])
        client = Client(self.server, timeout=20)
        self.addCleanup(client.__exit__)
        client.open("/v1/realtime")
        client.frame(TEXT, json.dumps({"type": "start", "input": "none"}))
        error = json.loads(client.receive()[1])
        self.assertEqual((error["code"], error["param"]), ("input_required", "input"))
        self.assertEqual(client.close_code(), 1008)
        self.assertEqual(self.sessions(), 0)

    def test_text_alone(self):
        # The bundled model's networks with steps that begin at noise: no pretty pictures, but frames.
        text = (ROOT / "Sources/SwanCheckpoints/Resources/tiny/stream.yaml").read_text()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text.replace("- 200\n- 25\n- 0\n", "- 1000\n- 600\n- 0\n"))
            file.flush()
            server = Swan("--config", file.name)
            try:
                with Client(server) as client:
                    models = json.loads(client.request(path="/v1/models").response()[2])
                self.assertFalse(models["data"][0]["needs_input"])
                session = Session(self, server, input="none")
                session.wait_frames(9)
                self.assertEqual([frame[4] for frame in session.frames[:9]], list(range(9)))
                session.send(type="update", width=96, event=4)
                session.wait("applied")
                while session.frames[-1][7] != 96:
                    session.step()
                session.send(type="finish")
                self.assertEqual(session.wait("ended")["reason"], "finished")
            finally:
                self.assertEqual(server.stop(), 0)

    # Presentation

    def test_lossless_sessions_return_every_frame(self):
        session = self.session(presentation="lossless")
        # More than the credit, at once.
        count = 5 * session.ready["credit"] + 2
        for _ in range(count):
            session.put(self.picture)
        session.send(type="finish")
        ended = session.wait("ended")
        self.assertEqual(ended["reason"], "finished")
        self.assertEqual([frame[4] for frame in session.frames], list(range(count)))
        # The end comes after the last frame.
        self.assertIsNone(session.step())

    def test_paced_sessions_return_frames_in_order(self):
        session = self.session(presentation="paced")
        while len(session.frames) < 13:
            session.put(self.picture)
            time.sleep(1 / 16)
            session.send(type="ping", time=0)
            session.wait("pong")
        numbers = [frame[4] for frame in session.frames]
        self.assertEqual(numbers, sorted(set(numbers)))
        session.send(type="stop")

    def test_finish_before_any_frame(self):
        session = self.session()
        session.send(type="finish")
        self.assertEqual(session.wait("ended")["reason"], "finished")

    # Modes and statistics

    def feed(self, session, until_stats):
        """Sends frames until a `stats` message satisfies a condition."""
        end = time.monotonic() + 40
        while time.monotonic() < end:
            for _ in range(4):
                session.put(self.picture)
            time.sleep(0.1)
            session.send(type="ping", time=0)
            session.wait("pong")
            stats = [message for message in session.messages if message["type"] == "stats"]
            if stats and until_stats(stats[-1]):
                return stats[-1]
        self.fail(f"no such stats: {session.messages[-1]}")

    def test_steps_run_as_asked(self):
        session = self.session(mode="batch", steps=2)
        self.feed(session, lambda stats: stats["mode"] == "batch")
        session.send(type="update", mode="steps", event=5)
        self.feed(session, lambda stats: stats["mode"] == "steps")
        session.send(type="update", mode="sideways")
        self.assertEqual(session.wait("error")["param"], "mode")
        session.send(type="stop")

    def test_statistics_are_complete(self):
        session = self.session(start=None)
        stats = self.feed(session, lambda stats: stats["chunk"] > 3)
        self.assertGreater(stats["time_to_first_chunk_ms"], 0)
        self.assertGreater(stats["chunk_interval_ms"]["p50"], 0)
        self.assertGreater(stats["real_time_factor"], 0)
        self.assertTrue(0 <= stats["deadline_attainment"] <= 1)
        self.assertGreaterEqual(stats["underruns"], 0)
        same = json.loads(self.get(f"/v1/realtime/sessions/{session.ready['session']}/stats")[2])
        self.assertLessEqual(set(stats), set(same))
        session.send(type="stop")

    # Races

    def test_a_hundred_updates_a_second(self):
        session = self.session()
        prompts = ["sepia", "neon edges", "pencil sketch"]
        for event in range(2, 102):
            session.send(type="update", event=event, prompt=prompts[event % 3], noise_scale=event / 200)
            session.put(self.picture)
            time.sleep(0.01)
        # The last change shapes the frames that follow it.
        while not session.frames or session.frames[-1][6] != 101:
            for _ in range(5):
                session.put(self.picture)
            session.send(type="ping", time=0)
            session.wait("pong")
        applied = [message["event"] for message in session.messages if message["type"] == "applied"]
        self.assertEqual(applied, sorted(set(applied)))
        self.assertEqual(applied[-1], 101)
        events = [frame[6] for frame in session.frames]
        self.assertEqual(events, sorted(events))
        self.assertLessEqual(set(events), set(applied) | {1})
        self.assertFalse([message for message in session.messages if message["type"] == "error"])
        session.send(type="stop")


if __name__ == "__main__":
    unittest.main()
