"""`swan serve --devices`: an engine a device behind one door."""
import json
import unittest

from program import Program, run
from test_realtime import Session


class DevicesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Program("--device", "auto", "--devices", "cpu,cpu,cpu")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def readiness(self):
        status, _, body = self.server.get("/readyz")
        self.assertEqual(status, 200)
        return json.loads(body)

    def test_sessions_are_spread(self):
        sessions = [Session(self, self.server) for _ in range(3)]
        found = self.readiness()
        self.assertEqual((found["status"], found["sessions"]), ("ready", 3))
        self.assertEqual(
            [(item["device"], item["status"]) for item in found["devices"]], [("cpu", "ready")] * 3)
        # What a session costs may be measured meanwhile, but never so that one device gets all.
        self.assertEqual(sum(item["sessions"] for item in found["devices"]), 3)
        self.assertGreaterEqual(sum(item["sessions"] > 0 for item in found["devices"]), 2)
        lines = self.server.get("/metrics")[2].decode().splitlines()
        for engine, item in enumerate(found["devices"]):
            labels = '{device="cpu",engine="%d"}' % engine
            self.assertIn(f"swan_device_sessions{labels} {item['sessions']}", lines)
            self.assertIn(f"swan_device_ready{labels} 1", lines)
        for session in sessions:
            session.send(type="stop")

    def test_wrong_devices(self):
        for devices, text in (("cpu,", "--devices"), ("tpu", "--devices"), ("cuda:0,cpu", "")):
            with self.subTest(devices=devices):
                code, _, messages = run("--devices", devices, "--port", "0", "--jobs", "none", environment={
                    "CUDA_VISIBLE_DEVICES": ""})
                self.assertEqual(code, 64 if text else 69, messages)
                self.assertIn(text, messages)

    def test_one_or_the_other(self):
        code, _, messages = run("--device", "cpu", "--devices", "cpu,cpu")
        self.assertEqual(code, 64)
        self.assertIn("cannot both be given", messages)


if __name__ == "__main__":
    unittest.main()
