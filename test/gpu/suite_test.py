"""Tests of suite.py that need no GPU: CPU engines stand in for CUDA engines.

With --compile and --run also whole runs of the program.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

import suite

TOOLS = {}
TEST = ("parity", "base", "f32", "tp=1")


class Gpus(unittest.TestCase):

    def test_engines_of_one_gpu_share_it(self):
        gpus = suite.Gpus(2, 2)
        with gpus.take(1) as a, gpus.take(1) as b, gpus.take(1) as c:
            # The emptiest first: 0, 1, then either.
            self.assertEqual((a, b), ([0], [1]))
            self.assertEqual(sum(gpus.free), 1)
            self.assertIn(c, ([0], [1]))
        self.assertEqual(gpus.free, [2, 2])

    def test_an_engine_of_several_gpus_waits_for_room(self):
        gpus = suite.Gpus(2, 3)  # an engine of several takes 1 of 3 places
        order = []
        with gpus.take(8) as first, gpus.take(2), gpus.take(2):
            self.assertEqual(sorted(first), [0, 1])  # more ranks than GPUs
            self.assertEqual(gpus.free, [0, 0])

            def late():
                with gpus.take(2) as mine:
                    order.append(sorted(mine))

            thread = threading.Thread(target=late)
            thread.start()
            thread.join(0.05)
            self.assertEqual(order, [])
        thread.join(10)
        self.assertEqual(order, [[0, 1]])

    def test_room_comes_back_after_a_failure(self):
        gpus = suite.Gpus(1, 1)
        with self.assertRaises(suite.Failure):
            with gpus.take(1):
                raise suite.Failure("stop")
        self.assertEqual(gpus.free, [1])


class Lists(unittest.TestCase):

    def test_names_are_distinct_and_worlds_are_counted(self):
        names = [suite.file_name(*test) for test in suite.tests()]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(suite.world("tp=4,dp=2,ep=4,pp=2"), 8)


class WholeProgram(unittest.TestCase):

    def setUp(self):
        if not TOOLS:
            self.fail("needs --compile and --run")
        self.folder = tempfile.TemporaryDirectory()
        self.pack = pathlib.Path(self.folder.name)
        shutil.copy2(TOOLS["run"], self.pack / "saddle-run")
        length, batch = suite.limits_of(*TEST[:3])
        cpu = self.pack / f"{suite.file_name(*TEST)}.cpu.saddle"
        suite.compile_engine(TOOLS["compile"], suite.model_of(*TEST[:2], self.pack), cpu,
                             "tp=1", "f32", length, batch)
        self.cuda = self.pack / f"{suite.file_name(*TEST)}.sm_90a.saddle"
        shutil.copy2(cpu, self.cuda)

    def tearDown(self):
        self.folder.cleanup()

    def run_suite(self, *options):
        return subprocess.run(
            [sys.executable, suite.__file__, "run", self.pack, *options],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_equal_engines_pass(self):
        report = self.pack / "report.json"
        result = self.run_suite("--json", report)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("1 of 1 pass", result.stdout)
        rows = json.loads(report.read_text())
        self.assertEqual([row["name"] for row in rows], [suite.file_name(*TEST)])
        self.assertEqual(sorted(rows[0]["errors"]), [
            "decode, CPU", "decode, transformers",
            "prefill, CPU", "prefill, transformers"])

    def test_text_from_candidates_is_compared(self):
        test = ("candidates", "bf16", "f32", "tp=1")
        length, batch = suite.limits_of(*test[:3])
        engine = self.pack / f"{suite.file_name(*test)}.sm_90a.saddle"
        suite.compile_engine(TOOLS["compile"], suite.model_of(*test[:2], self.pack), engine,
                             "tp=1", "f32", length, batch, None, "cpu",
                             suite.KINDS["candidates"][1])
        result = self.run_suite("--only", "^candidates")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("1 of 1 pass", result.stdout)

    def test_stored_weights_are_compared_with_the_same_topology(self):
        test = ("stored", "mxfp8", "bf16", "tp=2")
        suite.make_stored(test[1], self.pack)
        length, batch = suite.limits_of(*test[:3])
        for target in ("cpu", "sm_90a"):
            suite.compile_engine(
                TOOLS["compile"], suite.model_of(*test[:2], self.pack),
                self.pack / f"{suite.file_name(*test)}.{target}.saddle",
                test[3], test[2], length, batch)
        result = self.run_suite("--only", "^stored")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("decode, CPU 0.0e+00", result.stdout)

    def test_other_text_fails(self):
        expected = [{"prompt": "p", "new_ids": [1, 2, 3]}]
        self.assertTrue(suite.compare_texts(expected, [[1, 2, 3]]))
        for tokens in ([1, 2, 4], [1, 2], [1, 2, 3, 4], []):
            with self.assertRaises(suite.Failure):
                suite.compare_texts(expected, [tokens])

    def test_an_engine_that_cannot_run_fails(self):
        self.cuda.write_bytes(b"not an engine")
        result = self.run_suite()
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAILED parity.base.f32.tp1", result.stdout)
        self.assertIn("0 of 1 pass", result.stdout)

    def test_an_engine_of_another_model_fails(self):
        length, batch = suite.limits_of("parity", "near-tie", "f32")
        suite.compile_engine(TOOLS["compile"], suite.model_of("parity", "near-tie", self.pack),
                             self.cuda, "tp=1", "f32", length, batch)
        result = self.run_suite()
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAILED parity.base.f32.tp1", result.stdout)

    def test_what_did_not_run_is_no_success(self):
        result = self.run_suite("--limit", "-1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("not run: out of time", result.stdout)
        self.assertIn("0 of 1 pass, 1 did not run", result.stdout)

    def test_nothing_to_run_is_no_success(self):
        result = self.run_suite("--only", "^greedy")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no engine of the list is here", result.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile", type=pathlib.Path)
    parser.add_argument("--run", type=pathlib.Path)
    args, rest = parser.parse_known_args()
    if args.compile and args.run:
        TOOLS.update(compile=args.compile, run=args.run)
    unittest.main(argv=[sys.argv[0], *rest])
