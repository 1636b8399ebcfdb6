"""Settings from the command line, the environment and files; the log."""
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from clients import TOKEN, Client
from program import Program, run
from test_realtime import SWAN, Session, picture


class Settings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "serve.yaml"

    def file(self, text):
        self.path.write_text(text)
        return "--settings", str(self.path)

    def printed(self, *options, environment=None):
        """The settings in effect: name to value and origin."""
        code, output, messages = run(*options, "--print-settings", environment=environment)
        self.assertEqual(code, 0, messages)
        found = re.findall(r"^(?:# )?([a-z-]+):(.*?)  +# (.*)$", output, re.M)
        return {name: (value.strip().strip('"'), origin) for name, value, origin in found}

    def refused(self, *options, code=65, environment=None):
        result = run(*options, environment=environment)
        self.assertEqual((result[0], result[1]), (code, ""), result)
        return result[2]

    def test_the_command_line_wins_over_the_environment_over_the_file(self):
        file = self.file("host: '::1'\nmax-sessions: 2\nlog-level: debug\nallow-origin: [https://a.example, https://b.example]\n")
        environment = {"SWAN_MAX_SESSIONS": "3", "SWAN_LOG_LEVEL": "error", "SWAN_PORT": ""}
        settings = self.printed(*file, "--log-level", "warning", environment=environment)
        self.assertEqual(settings["host"], ("::1", f"{self.path}: host"))
        self.assertEqual(settings["max-sessions"], ("3", "SWAN_MAX_SESSIONS"))
        self.assertEqual(settings["log-level"], ("warning", "--log-level"))
        self.assertEqual(settings["port"], ("7860", "default"))
        self.assertEqual(settings["allow-origin"][0], '["https://a.example", "https://b.example"]')
        settings = self.printed(*file, "--allow-origin=https://c.example", environment=environment)
        self.assertEqual(settings["allow-origin"], ('["https://c.example"]', "--allow-origin"))
        lists = {"SWAN_ALLOW_ORIGIN": "https://d.example, https://e.example"}
        self.assertEqual(self.printed(*file, environment=lists)["allow-origin"][0], '["https://d.example", "https://e.example"]')

    def test_the_token_has_one_source(self):
        file = self.file("token-file: token.txt\ntoken: of-the-file")
        for options, environment, name, origin in [
            ((), {}, "token-file", f"{self.path}: token-file"),
            ((), {"SWAN_TOKEN": TOKEN}, "token", "SWAN_TOKEN"),
            ((), {"SWAN_TOKEN": TOKEN, "SWAN_TOKEN_FILE": "b.txt"}, "token-file", "SWAN_TOKEN_FILE"),
            (("--token-file", "a.txt"), {"SWAN_TOKEN": TOKEN}, "token-file", "--token-file"),
        ]:
            with self.subTest(origin):
                settings = self.printed(*file, *options, environment=environment)
                self.assertEqual(settings[name][1], origin)
                self.assertEqual("token" in settings, name == "token")
                self.assertEqual(settings["token-file"][0] == "", name == "token")

    def test_the_environment_may_name_the_file(self):
        self.file("port: 1234")
        settings = self.printed(environment={"SWAN_SETTINGS": str(self.path)})
        self.assertEqual(settings["port"], ("1234", f"{self.path}: port"))

    def test_one_kind_of_device_replaces_the_other(self):
        for text in ("devices: cpu,cpu", "devices: [cpu, cpu]"):
            file = self.file(text)
            self.assertEqual(self.printed(*file)["devices"], ("cpu,cpu", f"{self.path}: devices"))
            self.assertEqual(self.printed(*file, "--device", "cpu")["devices"][0], "")
            settings = self.printed(*file, environment={"SWAN_DEVICE": "cpu"})
            self.assertEqual((settings["devices"][0], settings["device"]), ("", ("cpu", "SWAN_DEVICE")))
        settings = self.printed(*self.file("device: cpu"), "--devices", "cpu,cpu")
        self.assertEqual(settings["device"], ("auto", "default"))
        self.refused(*self.file("device: cpu\ndevices: cpu"), "--print-settings", code=64)

    def test_printed_settings_are_a_settings_file(self):
        output = run("--max-sessions", "5", "--vae", "tiny: 1", "--print-settings")[1]
        settings = self.printed(*self.file(output))
        self.assertEqual(settings["max-sessions"][0], "5")
        self.assertEqual(settings["vae"], ("tiny: 1", f"{self.path}: vae"))

    def test_loras_are_a_list(self):
        settings = self.printed("--lora", "a.safetensors=0.5", "--lora", "b.safetensors", "--lora-strict")
        self.assertEqual(settings["lora"], ('["a.safetensors=0.5", "b.safetensors"]', "--lora"))
        self.assertEqual(settings["lora-strict"][0], "true")
        self.assertEqual(self.printed(*self.file("lora: [c.safetensors]"))["lora"][0], '["c.safetensors"]')
        messages = self.refused("--lora", "none.safetensors", "--port", "0", "--jobs", "none", code=66)
        self.assertIn("none.safetensors: cannot be read", messages)

    def test_every_option_is_a_setting(self):
        text = subprocess.run([SWAN, "serve", "--help"], capture_output=True, text=True, check=True).stdout
        options = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", text, re.M))
        self.assertEqual(set(self.printed()), options - {"settings", "print-settings", "version", "help"})

    def test_wrong_files(self):
        for text, message in [
            ("max-sesions: 3", "unknown key 'max-sesions'; did you mean 'max-sessions'?"),
            ("a\x1b: 3", "not YAML"),
            ("colour: red", "unknown key 'colour'"),
            ("port: http", "port must be a whole number"),
            ("port: 1.5", "port must be a whole number"),
            ("host: [a, b]", "host must be text"),
            ("allow-origin: https://a.example", "allow-origin must be a list of texts"),
            ("host:\n  name: a", "host"),
            ("port: 1\nport: 2", "port"),
            ("- port", "must have keys"),
            ("port: [", "not YAML"),
            ("port: &a 1\nhost: {b: *a}", "host"),
        ]:
            with self.subTest(text):
                messages = self.refused(*self.file(text), "--print-settings")
                self.assertTrue(messages.startswith(f"swan: error: {self.path}"), messages)
                self.assertIn(message, messages)
                self.assertNotIn("\x1b", messages)
        self.path.write_bytes(b"host: \xff\xfe")
        self.refused("--settings", str(self.path))
        self.refused("--settings", str(self.path.with_name("nothing.yaml")), code=66)
        self.refused("--settings", str(self.path.parent))

    def test_wrong_values(self):
        messages = self.refused(*self.file("device: gpu"), code=64)
        self.assertIn(f"--device comes from {self.path}: device", messages)
        self.assertIn("auto (a GPU if available), cpu, cuda", messages)
        self.assertIn("SWAN_PORT must be a whole number", self.refused(environment={"SWAN_PORT": "http"}))
        self.assertIn("--max-sessions must be 1 to 1024", self.refused(*self.file("max-sessions: 0"), code=64))
        self.assertIn("--allow-origin", self.refused("--allow-origin", "*", code=64))
        for host in ["0.0.0.0", "192.0.2.1", "127.0.0.1.example", "::"]:
            self.assertIn("--token-file", self.refused("--host", host, code=64))
        self.assertIn("--video-model", self.refused("--jobs", "none", "--video-model", "wan", code=64))

    def test_loopback_has_many_names(self):
        for host in ["127.0.0.2", "LOCALHOST", "[::1]"]:
            self.assertEqual(self.printed("--host", host)["host"], (host, "--host"))
        server = Program("--host", "LOCALHOST")
        self.addCleanup(server.stop)
        self.assertEqual(server.get("/readyz")[0], 200)

    def test_empty_files_and_help(self):
        for text in ["", "# nothing\n", "---\n"]:
            self.assertEqual(self.printed(*self.file(text))["port"][1], "default")
        code, output, _ = run(*self.file("colour: red"), "--help")
        self.assertEqual(code, 0)
        self.assertIn("--settings", output)

    def test_the_token_is_never_shown(self):
        for options, environment in [(self.file(f"token: {TOKEN}"), None), ((), {"SWAN_TOKEN": TOKEN})]:
            code, output, messages = run("--host", "0.0.0.0", *options, "--print-settings", environment=environment)
            self.assertEqual(code, 0, messages)
            self.assertRegex(output, r"# token: \(not shown\)")
            self.assertNotIn(TOKEN, output + messages)
        self.assertEqual(run("--token", TOKEN)[0], 64)


class Log(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Program(
            "--log-format", "json", environment={"SWAN_TOKEN": TOKEN, "SWAN_LOG_LEVEL": "debug", "SWAN_PROT": "1"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_each_line_is_an_object(self):
        self.assertEqual(self.server.get("/version")[0], 401)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.assertEqual(self.server.get(f"/version?token={TOKEN}", headers=headers)[0], 200)
        line = self.server.line("GET /version: 200")
        entry = json.loads(line)
        self.assertEqual(sorted(entry), ["label", "level", "message", "metadata", "time"])
        self.assertRegex(entry["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
        self.assertTrue(entry["metadata"]["hb.request.id"])
        for line in self.server.output:
            json.loads(line)
        warnings = [entry["message"] for entry in map(json.loads, self.server.output) if entry["level"] == "warning"]
        self.assertEqual(warnings, ["SWAN_PROT is not a setting; did you mean SWAN_PORT?"])

    def test_tokens_and_prompts_are_not_logged(self):
        client = Client(self.server, timeout=30)
        self.addCleanup(client.__exit__)
        client.open(f"/v1/realtime?token={TOKEN}", Sec_WebSocket_Protocol=f"swan.v1, swan.token.{TOKEN}")
        client.frame(1, json.dumps({"type": "start", "prompt": "sepia secret words", "width": 64, "height": 64}))
        self.assertIn(b"ready", client.receive()[1])
        client.frame(1, json.dumps({"type": "stop"}))
        self.server.line("session ended")
        text = "\n".join(self.server.output)
        self.assertIn("session started", text)
        for secret in [TOKEN, "secret words"]:
            self.assertNotIn(secret, text)

    def test_lines_cannot_be_forged(self):
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Injected": 'a", "level": "error'}
        self.server.get('/no%0a%7b"level":"error"%7d', headers=headers)
        line = self.server.line("GET /no")
        self.assertEqual(json.loads(line)["level"], "debug")


if __name__ == "__main__":
    unittest.main()
