"""The description of the API: true by its schema, and by requests that are made from it."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from clients import ROOT, TOKEN
from program import Program
from test_realtime import Session, picture

try:
    import schemathesis
except ImportError:
    schemathesis = None
    print("test_openapi: partly skipped, since schemathesis is not installed")


class Description(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Program("--jobs", cls.folder.name + "/jobs")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def test_it_describes_what_the_server_has(self):
        status, headers, body = self.server.get("/openapi.json")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        description = json.loads(body)
        self.assertEqual(description["openapi"], "3.1.0")
        self.assertEqual(json.loads(self.server.get("/version")[2])["version"], description["info"]["version"])
        for path, operations in description["paths"].items():
            if "get" in operations and "{" not in path:
                with self.subTest(path):
                    status = str(self.server.get(path)[0])
                    self.assertIn(status, operations["get"]["responses"])

    @unittest.skipIf(schemathesis is None, "needs schemathesis")
    def test_the_statistics_of_a_session(self):
        import jsonschema_rs
        description = json.loads(self.server.get("/openapi.json")[2])
        session = Session(self, self.server)
        for _ in range(5):
            session.put(picture())
        session.wait_frames(4)
        body = self.server.get(f"/v1/realtime/sessions/{session.ready['session']}/stats")[2]
        schema = {**description["components"]["schemas"]["SessionStats"], "components": description["components"]}
        jsonschema_rs.validate(schema, json.loads(body))
        session.send(type="stop")

    @unittest.skipIf(schemathesis is None, "needs schemathesis")
    def test_schemathesis(self):
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "Tests/serve/schemathesis.toml"), "run", f"http://127.0.0.1:{self.server.port}/openapi.json",
             "--max-examples", "8", "--seed", "1", "--request-timeout", "20", "--max-redirects", "0",
             "--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"],
            capture_output=True, text=True, timeout=240, cwd="/tmp", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual(run.returncode, 0, run.stdout[-6000:] + run.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()
