"""`/metrics`, read by Prometheus's own parser."""
import json
import tempfile
import unittest

from clients import TOKEN, Client, until
from program import Program
from test_realtime import Session, picture

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None
    print("test_metrics: skipped, since prometheus_client is not installed")


@unittest.skipIf(text_string_to_metric_families is None, "needs prometheus_client")
class Metrics(unittest.TestCase):
    def setUp(self):
        self.server = Program("--max-sessions", "1")
        self.addCleanup(self.server.stop)

    def metrics(self, **options):
        """The metrics by name and labels, and the families by name."""
        status, headers, body = self.server.get("/metrics", **options)
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        samples = {}
        for family in families.values():
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                self.assertNotIn(key, samples)
                samples[key] = sample.value
        return samples, families

    def value(self, samples, name, **labels):
        return samples.get((name, tuple(sorted(labels.items()))), 0)

    def restyle(self, session, count):
        for _ in range(count):
            session.put(self.picture)
            session.client.socket.settimeout(30)
        session.wait_frames(4)

    def test_a_session_is_measured(self):
        self.picture = picture()
        before, _ = self.metrics()
        self.assertEqual(self.value(before, "swan_ready"), 1)
        self.assertEqual(self.value(before, "swan_sessions"), 0)
        session = Session(self, self.server)
        # No more frames than a chunk needs, or the oldest would be dropped before it is found to be damaged.
        for frame in [b"\xff\xd8 no picture", *3 * [self.picture]]:
            session.put(frame)
        while session.wait("stats")["dropped"]["damaged"] == 0:
            pass
        self.restyle(session, 1)
        session.send(type="update", event=9, prompt="neon edges")
        sent = 4
        while not any(frame[6] == 9 for frame in session.frames):
            session.put(self.picture)
            sent += 1
            if session.step() is None:
                self.fail("the session ended")
        session.wait("stats")
        with Client(self.server) as refused:
            self.assertEqual(refused.handshake("/v1/realtime").response()[0], 503)
        during, families = self.metrics()
        self.assertEqual(self.value(during, "swan_sessions"), 1)
        session.send(type="stop")
        self.assertTrue(until(lambda: self.value(self.metrics()[0], "swan_sessions") == 0, 20))
        after, _ = self.metrics()
        self.assertEqual(self.value(after, "swan_sessions_started_total"), 1)
        self.assertEqual(self.value(after, "swan_sessions_ended_total", result="stopped"), 1)
        self.assertEqual(self.value(after, "swan_sessions_refused_total", reason="capacity"), 1)
        self.assertEqual(self.value(after, "swan_frames_total", dir="in", result="received"), sent + 1)
        self.assertEqual(self.value(after, "swan_frames_dropped_total", reason="damaged"), 1)
        restyled = self.value(after, "swan_frames_total", dir="out", result="restyled")
        self.assertGreaterEqual(restyled, len(session.frames))
        self.assertEqual(self.value(after, "swan_e2e_latency_seconds_count"), restyled)
        self.assertEqual(self.value(after, "swan_time_to_first_chunk_seconds_count"), 1)
        self.assertEqual(self.value(after, "swan_prompt_to_effect_seconds_count"), 1)
        for stage in ["queue", "encode", "denoise", "decode", "compress"]:
            chunks = self.value(after, "swan_stage_duration_seconds_count", stage=stage)
            self.assertGreaterEqual(chunks, 2)
            infinite = self.value(after, "swan_stage_duration_seconds_bucket", stage=stage, le="+Inf")
            self.assertEqual(infinite, chunks)
        self.assertEqual(self.value(after, "swan_chunk_interval_seconds_count"), chunks - 1)
        self.assertGreater(self.value(after, "swan_real_time_factor_sum"), 0)
        self.assertGreater(self.value(after, "process_resident_memory_bytes"), 1 << 20)
        self.check_buckets(after)
        for name, kind in [("swan_frames", "counter"), ("swan_sessions", "gauge"), ("swan_e2e_latency_seconds", "histogram")]:
            self.assertEqual(families[name].type, kind)
            self.assertTrue(families[name].documentation)

    def check_buckets(self, samples):
        """The counts of a histogram's buckets never fall."""
        series = {}
        for (name, labels), value in samples.items():
            if name.endswith("_bucket"):
                bound = float(dict(labels)["le"])
                rest = tuple(label for label in labels if label[0] != "le")
                series.setdefault((name, rest), []).append((bound, value))
        self.assertTrue(series)
        for buckets in series.values():
            counts = [count for _, count in sorted(buckets)]
            self.assertEqual(counts, sorted(counts))

    def test_hostile_clients_add_no_labels(self):
        self.picture = picture()
        for number in range(300):
            self.server.get(f'/a{number}%0a"}}%20evil{{x="{number}')
        for method in ["BREW", "PROPFIND", "M-SEARCH"]:
            self.server.get("/version", method=method)
        for headers in [{"X": 'a"\\'}, {"User-Agent": 'x"} evil 1'}, {"Origin": 'http://a"b'}]:
            self.server.get("/version", method="POST", headers=headers, body=b"{}")
        session = Session(self, self.server)
        session.send(type="update", prompt='evil"} 1\n# TYPE evil counter\nevil 1\\', event=3)
        session.send(type="update", prompts=[{"text": "\u202e\x00\n", "weight": 1}], event=4)
        self.restyle(session, 9)
        session.send(type="stop")
        samples, families = self.metrics()
        self.assertFalse([name for name in families if "evil" in name])
        routes = {dict(labels).get("route") for _, labels in samples} - {None}
        self.assertLessEqual(routes, {"none", "/version", "/metrics", "/readyz", "/v1/realtime"})
        methods = {dict(labels).get("method") for _, labels in samples} - {None}
        self.assertLessEqual(methods, {"GET", "POST", "other"})
        self.assertLess(len(samples), 400)
        self.assertNotIn("sepia", json.dumps([str(key) for key in samples]))


@unittest.skipIf(text_string_to_metric_families is None, "needs prometheus_client")
class Jobs(unittest.TestCase):
    def test_jobs_are_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            server = Program("--jobs", folder + "/jobs")
            try:
                body = server.get("/metrics")[2].decode()
                families = {family.name: family for family in text_string_to_metric_families(body)}
                statuses = {sample.labels["status"]: sample.value for sample in families["swan_jobs"].samples}
                self.assertEqual(statuses, {"queued": 0, "in_progress": 0, "completed": 0, "failed": 0})
            finally:
                server.stop()


@unittest.skipIf(text_string_to_metric_families is None, "needs prometheus_client")
class Access(unittest.TestCase):
    def test_metrics_need_the_token(self):
        server = Program(environment={"SWAN_TOKEN": TOKEN})
        self.addCleanup(server.stop)
        self.assertEqual(server.get("/metrics")[0], 401)
        status, _, body = server.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        self.assertEqual(status, 200)
        names = [family.name for family in text_string_to_metric_families(body.decode())]
        self.assertIn("swan_http_requests", names)


if __name__ == "__main__":
    unittest.main()
