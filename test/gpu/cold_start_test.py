"""Tests of cold_start.py that need no GPU: CPU engines stand in for CUDA engines.

usage: cold_start_test.py BIN (with saddle-compile, saddle-pack and saddle-run)
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import cold_start

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.argv.pop(1))


class ColdStart(unittest.TestCase):

    def test_a_line_says_what_a_larger_share_would_take(self):
        # 2 s without any byte, half a second for each billion.
        without, each = cold_start.line_through([(1e9, 2.5), (3e9, 3.5), (4e9, 4.0)])
        self.assertAlmostEqual(without, 2.0)
        self.assertAlmostEqual(each, 0.5e-9)
        results = [{"engine": name, "bytes": size,
                    **{state: {"first": 2 + each * size, "load": each * size,
                               "devices": 0.25, "memory": 0.125,
                               "weights": each * size - 0.375, "prompt": 0.5, "rest": 1.5, "process": 0.25,
                               "open": 0.5, "plain": 2 * each * size}
                       for state, each in (("cached", 0.1e-9), ("dropped", 0.5e-9))}}
                   for name, size in (("a", 10e9), ("b", 20e9))]
        results[0]["cached"]["plain by four"] = 0.8
        text = cold_start.report(results, 60e9)
        self.assertIn("cached: 2.00 s and 0.100 s/GB; 60 GB by that line: 8.0 s", text)
        self.assertIn("dropped: 2.00 s and 0.500 s/GB; 60 GB by that line: 32.0 s", text)
        self.assertIn("first token after 7.00 s: loading 5.00 (2.00 GB/s; devices and "
                      "code 0.25, memory and graphs 0.12, weights 4.62)", text)
        self.assertIn("into pinned memory 2.00 s (5.00 GB/s), by four threads 0.80 "
                      "(12.50 GB/s); loading is at 2.00 of it, less the device 4.00",
                      text)
        self.assertNotIn("that line", cold_start.report(results[:1], 60e9))

    def test_a_plain_read_reads_everything(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for rank, size in enumerate((0, 3, cold_start.PIECE, 5 * cold_start.PIECE // 2)):
                (folder / f"rank-{rank}.weights").write_bytes(bytes(size))
            read = []
            real = os.preadv
            with unittest.mock.patch("os.preadv", lambda *a: read.append(real(*a)) or read[-1]):
                cold_start.read_plainly(cold_start.weight_files(folder), 3)
            self.assertEqual(sum(read), 3 + 7 * cold_start.PIECE // 2)

    def test_engines_are_packed_once_and_started(self):
        with tempfile.TemporaryDirectory() as name:
            tmp = pathlib.Path(name)
            engine = tmp / "nano.saddle"
            subprocess.run([BIN / "saddle-compile", ROOT / "models/nano/bf16", "-o",
                            engine], check=True)
            command = [sys.executable, cold_start.__file__, "--bin", BIN, "--folder",
                       tmp / "packed", "--json", tmp / "times.json", engine]
            first = subprocess.run(command, capture_output=True, text=True, check=True)
            self.assertIn("nano: packed in", first.stdout)
            result, = json.loads((tmp / "times.json").read_text())
            # saddle-inspect --memory: weights of 4345344 bytes.
            self.assertGreaterEqual(result["bytes"], 4345344)
            self.assertLess(result["bytes"], 4345344 + 16384)
            for state in ("cached", "dropped"):
                self.assertLessEqual(
                    sum(result[state][part] for part in ("devices", "memory", "weights")),
                    result[state]["load"] + 0.02)
                for part in ("first", "process", "open", "plain"):
                    self.assertGreater(result[state][part], 0)
            again = subprocess.run(command, capture_output=True, text=True, check=True)
            self.assertNotIn("packed in", again.stdout)
            # A folder that does not belong to the engine gives no token.
            weights, = (tmp / "packed" / "nano").glob("*.weights")
            weights.write_bytes(weights.read_bytes()[:-1])
            bad = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(bad.returncode, 1)
            self.assertIn("nano.saddle: saddle-run gave no token", bad.stderr)


if __name__ == "__main__":
    unittest.main()
