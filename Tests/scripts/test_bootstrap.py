"""Tests of scripts/bootstrap on small trees: damage is detected, and no secret is printed."""

import contextlib
import hashlib
import http.server
import importlib.util
import io
import os
import shutil
import sys
import tempfile
import threading
import unittest
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bootstrap"
LOGIN = "robot:s3cret%40word"


def load():
    loader = SourceFileLoader("bootstrap", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bootstrap", loader))
    with mock.patch.object(sys, "dont_write_bytecode", True):
        loader.exec_module(module)
    return module


class Setting(unittest.TestCase):
    """A separate cache that contains one small wheel."""

    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.bootstrap = load()
        self.bootstrap.CACHE = self.root
        self.said = io.StringIO()
        redirection = contextlib.redirect_stderr(self.said)
        redirection.__enter__()
        self.addCleanup(redirection.__exit__, None, None, None)

    def environment(self, **variables):
        plain = {
            name: value
            for name, value in os.environ.items()
            if not self.bootstrap.URL_VARIABLES.fullmatch(name)
        }
        patch = mock.patch.dict(os.environ, {**plain, **variables}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)


class TreeTests(Setting):
    FILES = {"lib/libone.so": b"one" * 1000, "lib/libtwo.so": b"two", "include/a/b.h": b"#pragma once\n"}

    def setUp(self):
        super().setUp()
        name = "small-1.0-py3-none-any.whl"
        (self.root / "wheels").mkdir()
        with zipfile.ZipFile(self.root / "wheels" / name, "w") as archive:
            for path, data in self.FILES.items():
                archive.writestr(path, data)
        digest = self.bootstrap.sha256(self.root / "wheels" / name)
        wheel = self.bootstrap.Wheel(0, digest, name)
        self.tree = self.bootstrap.Tree("small", self.root / "tree", [wheel], lambda path: path, 0)
        self.bootstrap.ensure_tree(self.tree)

    def expect_whole(self):
        for path, data in self.FILES.items():
            self.assertEqual((self.tree.path / path).read_bytes(), data)
        self.assertIsNone(self.tree.damage(thorough=True))

    def expect_repair(self, words):
        self.assertIn(words, self.tree.damage())
        self.assertFalse(self.bootstrap.is_complete([self.tree]))
        self.bootstrap.ensure_tree(self.tree)
        self.assertIn(words, self.said.getvalue())
        self.expect_whole()

    def test_a_whole_tree_is_left_alone_and_not_read(self):
        self.expect_whole()
        with mock.patch.object(self.bootstrap, "sha256", side_effect=AssertionError("read")):
            self.assertIsNone(self.tree.damage())
            self.bootstrap.ensure_tree(self.tree)

    def test_a_changed_byte(self):
        with open(self.tree.path / "lib/libone.so", "r+b") as file:
            file.write(b"x")
        self.expect_repair("a modified file: lib/libone.so")

    def test_a_changed_byte_with_the_old_time(self):
        path = self.tree.path / "lib/libone.so"
        before = path.stat()
        with open(path, "r+b") as file:
            file.write(b"x")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.expect_repair("a modified file: lib/libone.so")

    def test_a_truncated_file(self):
        os.truncate(self.tree.path / "lib/libone.so", 10)
        self.expect_repair("a modified file: lib/libone.so")

    def test_a_missing_file(self):
        (self.tree.path / "include/a/b.h").unlink()
        self.expect_repair("is missing include/a/b.h")

    def test_a_missing_folder(self):
        shutil.rmtree(self.tree.path / "lib")
        self.expect_repair("is missing lib/libone.so")

    def test_an_extra_file(self):
        (self.tree.path / "lib/libstdc++.so.6").write_bytes(b"planted")
        self.expect_repair("contains an unexpected file")
        self.assertFalse((self.tree.path / "lib/libstdc++.so.6").exists())

    def test_a_link_in_place_of_a_file(self):
        path = self.tree.path / "lib/libtwo.so"
        path.rename(self.root / "elsewhere.so")
        path.symlink_to(self.root / "elsewhere.so")
        self.expect_repair("a modified file: lib/libtwo.so")

    def test_a_link_in_place_of_a_folder(self):
        (self.tree.path / "lib").rename(self.root / "elsewhere")
        (self.tree.path / "lib").symlink_to(self.root / "elsewhere")
        self.expect_repair("contains an unexpected file: lib")

    def test_a_file_that_was_only_touched_is_read_once(self):
        os.utime(self.tree.path / "lib/libone.so")
        read = mock.Mock(side_effect=self.bootstrap.sha256)
        with mock.patch.object(self.bootstrap, "sha256", read):
            self.assertIsNone(self.tree.damage())
            self.assertIsNone(self.tree.damage())
        self.assertEqual(read.call_count, 1)

    def test_a_missing_or_damaged_manifest(self):
        for text in (None, "", "nonsense\n"):
            listing = self.tree.path / ".manifest"
            listing.unlink()
            if text is not None:
                listing.write_text(text)
            self.expect_repair("has no file list")

    def test_everything_is_read_on_request(self):
        path = self.tree.path / "lib/libone.so"
        path.write_bytes(b"x" * len(self.FILES["lib/libone.so"]))
        # As if no modification time had changed.
        known = self.bootstrap.Manifest.read(self.tree.path)
        sha, _ = known["lib/libone.so"]
        known["lib/libone.so"] = (sha, self.bootstrap.Manifest.mark(path.lstat()))
        self.bootstrap.Manifest.write(self.tree.path, known)
        self.assertIsNone(self.tree.damage())
        self.assertIn("a modified file: lib/libone.so", self.tree.damage(thorough=True))

    def test_a_damaged_wheel_is_not_unpacked(self):
        with open(self.tree.wheels[0].path, "r+b") as file:
            file.write(b"x")
        os.truncate(self.tree.path / "lib/libone.so", 10)
        fetch = mock.Mock(side_effect=self.bootstrap.SetupError("no network"))
        with mock.patch.object(self.bootstrap, "fetch", fetch), mock.patch.object(
            self.bootstrap, "pip_command", lambda: ["pip"]
        ), self.assertRaises(self.bootstrap.SetupError):
            self.bootstrap.ensure_tree(self.tree)


class SecretTests(Setting):
    def test_logins_and_tokens_in_urls_are_hidden(self):
        self.environment()
        for url, shown in {
            "https://user:secret@host/simple": "https://***@host/simple",
            "https://secret@host/simple": "https://***@host/simple",
            "https://user:sec@ret@host/simple": "https://***@host/simple",
            "https://user:sec/ret@host/simple": "https://***@host/simple",
            "git+ssh://user:secret@host/x": "git+ssh://***@host/x",
            "https://host/file?token=secret&X-Amz-Signature=secret": (
                "https://host/file?token=***&X-Amz-Signature=***"
            ),
            "https://host/file#sha256=0a1b": "https://host/file#sha256=0a1b",
            "https://pypi.org/simple/": "https://pypi.org/simple/",
        }.items():
            self.assertEqual(self.bootstrap.without_secrets(f"at '{url}': no"), f"at '{shown}': no")

    def test_a_password_is_hidden_outside_its_url(self):
        for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "https_proxy"):
            self.environment(**{variable: f"https://{LOGIN}@host/simple"})
            for text in ("nonnumeric port: 's3cret%40word@host'", "s3cret@word"):
                self.assertNotIn("s3cret", self.bootstrap.without_secrets(text))

    def test_messages_contain_no_secrets(self):
        self.environment(PIP_INDEX_URL=f"https://{LOGIN}@host/simple")
        self.bootstrap.say(f"https://{LOGIN}@host/simple does not answer")
        try:
            raise ValueError(f"https://{LOGIN}@host/simple")
        except ValueError as error:
            self.bootstrap.report(ValueError, error, error.__traceback__)
        self.assertNotIn("s3cret", self.said.getvalue())
        self.assertIn("ValueError", self.said.getvalue())

    def test_pip_output_is_redacted(self):
        self.environment(PIP_INDEX_URL=f"https://{LOGIN}@host/simple")
        pip = self.root / "pip.py"
        pip.write_text(
            "import os, sys\n"
            "print('Looking in', os.environ['PIP_INDEX_URL'])\n"
            "sys.exit('redirected to https://mirror/file?sig=s3cret')\n"
        )
        wheel = self.bootstrap.Wheel(0, "0" * 64, "small-1.0-py3-none-any.whl")
        with self.assertRaises(self.bootstrap.SetupError):
            self.bootstrap.fetch(wheel, [sys.executable, str(pip)])
        self.assertIn("Looking in https://***@host/simple", self.said.getvalue())
        self.assertIn("sig=***", self.said.getvalue())
        self.assertNotIn("s3cret", self.said.getvalue())


class IndexTests(Setting):
    """An index with a login that redirects downloads to another server."""

    def setUp(self):
        super().setUp()
        self.data = b"an archive"
        self.archive = self.bootstrap.SourceArchive(
            0, hashlib.sha256(self.data).hexdigest(), "small-1.0.tar.gz"
        )
        self.asked = []
        self.files = self.server(self.answer_file)
        self.index = self.server(self.answer_index)

    def server(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):  # noqa: N805
                answer(handler)

            def log_message(handler, *arguments):  # noqa: N805
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"

    @staticmethod
    def give(handler, status, data=b"", **headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def answer_index(self, handler):
        if handler.headers["Authorization"] is None:
            return self.give(handler, 401)
        if handler.path.endswith(".tar.gz"):
            return self.give(handler, 302, Location=f"http://{self.files}/x?sig=s3cret")
        return self.give(handler, 200, b'<a href="/files/small-1.0.tar.gz#sha256=0">')

    def answer_file(self, handler):
        self.asked.append(handler.headers["Authorization"])
        self.give(handler, 200, self.data)

    def fetch(self, index):
        self.environment(PIP_INDEX_URL=index)
        (self.root / "wheels").mkdir(exist_ok=True)
        self.bootstrap.fetch_source(self.archive)

    def test_the_login_is_sent_only_to_the_index(self):
        self.fetch(f"http://{LOGIN}@{self.index}/simple")
        self.assertEqual(self.archive.path.read_bytes(), self.data)
        self.assertEqual(self.asked, [None])

    def test_errors_do_not_contain_the_login(self):
        self.data = b"another"
        for index in (
            f"http://{LOGIN}@127.0.0.1:1/simple",
            f"http://{LOGIN}@{self.index}/simple",
            f"http://{LOGIN}@nowhere:port/simple",
            f"http://{self.index}/simple",
            f"{LOGIN}@host",
        ):
            with self.assertRaises(self.bootstrap.SetupError) as caught:
                self.fetch(index)
            self.bootstrap.say(f"error: {caught.exception}")
        self.assertNotIn("s3cret", self.said.getvalue())


if __name__ == "__main__":
    unittest.main()
