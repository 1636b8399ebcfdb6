"""Tests of scripts/package: the stubs through which a packaged program finds the FFmpeg of a machine."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
MEDIA = ROOT / "Sources" / "CMedia"
PROGRAM = """
#include <CMedia.h>
#include <stdio.h>
int main(void) {
    puts("started");
    fflush(stdout);
    puts(cm_library_version());
    return 0;
}
"""


def load():
    loader = SourceFileLoader("package", str(ROOT / "scripts" / "package"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("package", loader))
    with mock.patch.object(sys, "dont_write_bytecode", True):
        loader.exec_module(module)
    return module


class BindingTests(unittest.TestCase):
    """A C program with the stubs, and CMedia beside it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.package = load()
        cls.package.BUILD = cls.folder
        cls.media = cls.package.media_of_this_machine()
        stubs = cls.package.make_stubs(cls.media)
        source = cls.folder / "program.c"
        source.write_text(PROGRAM)
        command = ["cc", source, MEDIA / "packaged" / "bind.c", stubs, "-I", MEDIA / "include", "-ldl"]
        subprocess.run([*command, "-o", cls.folder / "program"], check=True)

    def run_with(self, *libraries):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        for path in [self.folder / "program", *libraries]:
            shutil.copy(path, folder)
        return subprocess.run([folder / "program"], capture_output=True, text=True, timeout=60)

    def test_functions_are_those_of_the_library_beside_the_program(self):
        done = self.run_with(self.media)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"started\n.*\d+\.\d+")

    def test_a_missing_library_ends_the_program_where_it_is_needed(self):
        done = self.run_with()
        self.assertEqual((done.returncode, done.stdout), (69, "started\n"))
        self.assertRegex(done.stderr, r"FFmpeg's libraries are missing: .*libswan-media-\d\d\.so.*docs/install\.md")

    def test_every_function_of_the_header_has_a_stub(self):
        command = ["nm", "-D", "--defined-only", self.media]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        stubs = (self.folder / "stubs.s").read_text()
        wanted = {name for name in names if name.startswith("cm_")}
        self.assertGreater(len(wanted), 50)
        for name in wanted:
            self.assertIn(f"\n{name}:\n", stubs)

    def test_a_library_that_needs_more_than_is_packed_is_refused(self):
        home = self.folder / "home"
        home.mkdir()
        shutil.copy(self.folder / "program", home / "swan")
        self.package.check_libraries(home)
        command = ["cc", "-shared", "-o", home / "libother.so", "-x", "c", "/dev/null"]
        command += ["-Wl,--no-as-needed", "-lsqlite3"]
        subprocess.run(command, check=True)
        with self.assertRaisesRegex(self.package.PackageError, "libother.so needs libsqlite3.so.0"):
            self.package.check_libraries(home)


if __name__ == "__main__":
    unittest.main()
