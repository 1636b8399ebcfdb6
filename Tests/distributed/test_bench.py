"""`swan bench distribute`: what ranks send is what the model says, and simulations that can be read."""
import json
import unittest

from ranks import SWAN, Process, clean


class Bench(unittest.TestCase):
    def run_bench(self, *options):
        process = Process(self, [SWAN, "bench", "distribute", *options], clean())
        self.assertEqual(process.end(), 0, process.messages)
        return process.output

    def test_traffic_is_that_of_the_model(self):
        for ranks in ["2", "3"]:
            rows = json.loads(self.run_bench("--rows", "traffic", "--nproc", ranks, "--check", "--json"))
            figures = {figure["name"]: figure for figure in rows[0]["figures"]}
            for way in ["ulysses", "ring"]:
                self.assertEqual(figures[f"{way}: bytes over the model's"]["value"], 1)
                self.assertEqual(figures[f"{way}: gathers"]["value"], 1)
            self.assertEqual(figures["ulysses: exchanges a block"]["value"], 2)
            self.assertTrue(all(figure["holds"] for figure in figures.values()))

    def test_simulation(self):
        times = ["--block-ms", "1", "--encode-ms", "2", "--decode-ms", "3", "--teraflops", "100"]
        table = json.loads(self.run_bench("--simulate", "--json", *times))
        one = [row for row in table["stream"] if row["ranks"] == 1]
        # 30 blocks, encoder and decoder, one after the other, for four frames.
        self.assertTrue(all(abs(row["frames_per_s"] - 4 / 0.035) < 1e-6 for row in one))
        two = [row for row in table["stream"] if (row["ranks"], row["layout"], row["link"]) == (2, "blocks", "NVLink")]
        self.assertGreater(two[0]["speedup"], 1.8)
        self.assertEqual({row["ranks"] for row in table["videos"]}, {1, 2, 4, 8, 16, 32, 64})

    def test_wrong_options(self):
        for options in [["--block-ms", "1"], ["--simulate", "--block-ms", "1"], ["--nproc", "0"], ["--rows", "x"]]:
            process = Process(self, [SWAN, "bench", "distribute", *options], clean())
            self.assertEqual(process.end(), 64, process.messages)


if __name__ == "__main__":
    unittest.main()
