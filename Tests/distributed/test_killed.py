"""Distillations that are killed and resumed end with the bits that they would have had; see killed.py."""
import unittest

import killed


class KilledDistillations(unittest.TestCase):
    def test_ode(self):
        killed.check(self, "ode", kills=3, seed=1, steps=3)

    def test_dmd(self):
        killed.check(self, "dmd", kills=3, seed=1, steps=3)

    def test_self_forcing(self):
        killed.check(self, "self_forcing", kills=3, seed=1, steps=3)

    def test_sid(self):
        killed.check(self, "sid", kills=3, seed=1, steps=3)


if __name__ == "__main__":
    unittest.main()
