"""Tests of benchmark.py that need no GPU: a program that prints figures stands in for
saddle-bench."""

import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

import benchmark

BENCH = """#!{python}
import json, pathlib, sys
if "--version" in sys.argv:
    print("saddle-bench 0"); sys.exit(0)
engine = pathlib.Path(sys.argv[1]).stem
if engine == "m.tp4":
    print("error: it was asked to fail", file=sys.stderr); sys.exit(1)
alone = "--alone" in sys.argv
pathlib.Path(sys.argv[sys.argv.index("--budget") + 1]).write_text("### " + engine + "\\n")
budget = [
  {{"place": "layers.*.qkv", "kernel": "linear_0", "op": "linear", "launches": 2,
    "operations": 2 * 2 * 2048 * 96 * 64, "operations_e4m3": 2, "seconds": 8e-6,
    "floor_seconds": 2e-6}},
  {{"place": "layers.*.o_proj", "kernel": "linear_1", "op": "linear", "launches": 2,
    "operations": 2 * 2 * 2048 * 128 * 64, "operations_e4m3": 0, "seconds": 8e-6,
    "floor_seconds": 2e-6}},
  {{"place": "layers.*.attention", "kernel": "attention_0", "op": "attention", "launches": 2,
    "operations": 1, "operations_e4m3": 0, "seconds": 8e-6, "floor_seconds": 2e-6}},
  {{"place": "lm_head", "kernel": "linear_2", "op": "linear", "launches": 1,
    "operations": 2 * 1000 * 64, "operations_e4m3": 0, "seconds": 8e-6,
    "floor_seconds": 2e-6}}]
more = {{"link_seconds": 0.5e-3, "predicted_seconds": 2.0e-3}} if alone else {{}}
step = dict({{"device_seconds": {{"median": 1.5e-3}}, "floor_seconds": 0.75e-3,
             "budget": budget}}, **more)
result = {{"decode": [dict(step, batch=8, step_seconds={{"median": 1.6e-3}},
                          routing={{"hit": {{"mean": 57.25}}}})],
          "prefill": [dict(step, tokens=2048, seconds={{"median": 1.7e-3}})]}}
if alone:
    result["alone"] = 0
print(json.dumps(result))
"""


class Benchmark(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.pack = pathlib.Path(self.folder.name)
        engines = [{"name": f"m.tp{ranks}", "topology": f"tp={ranks}", "ranks": ranks,
                    "layers": 2} for ranks in (1, 2, 4)]
        (self.pack / "benchmark.json").write_text(json.dumps(
            {"model": "m", "engines": engines, "hidden": 64, "heads": 4, "kv_heads": 1,
             "head_dim": 32}))
        bench = self.pack / "saddle-bench"
        bench.write_text(BENCH.format(python=sys.executable))
        bench.chmod(0o755)

    def run_it(self, *arguments):
        """(exit status, Markdown, JSON) on a machine of one GPU."""
        files = {name: self.pack / name for name in ("out.md", "out.json", "work")}
        sys.argv = ["benchmark.py", "run", str(self.pack), "--gpus", "1", "--markdown",
                    str(files["out.md"]), "--json", str(files["out.json"]), "--work",
                    str(files["work"]), *arguments]
        with contextlib.redirect_stdout(io.StringIO()), \
                contextlib.redirect_stderr(io.StringIO()):
            status = benchmark.main()
        return status, files["out.md"].read_text(), json.loads(files["out.json"].read_text())

    def test_engines_that_fit_run_whole_and_others_alone(self):
        status, text, report = self.run_it("--no-peers", "--only", "tp=1", "tp=2")
        self.assertEqual(status, 0)
        self.assertIn("| tp=1, 2 layers | 8 | 1.600 | 1.500 | 0.750 (50 %) |  |  | 57.2 |\n",
                      text)
        self.assertIn("| tp=2, 2 layers, rank 0 alone | 8 |  | 1.500 | 0.750 (50 %) | 0.500 | "
                      "**2.000** | 57.2 |\n", text)
        self.assertIn("| tp=1, 2 layers | 2048 | 1.700 |", text)
        self.assertIn("### m.tp1\n", text)
        self.assertEqual(set(report["results"]), {"m.tp1", "m.tp2"})
        self.assertNotIn("What did not run", text)

    def test_the_pack_may_be_the_working_directory(self):
        # A program beside it is started by its path, not looked for in PATH.
        before = pathlib.Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.pack)
        folder, self.pack = self.pack, pathlib.Path(".")
        self.addCleanup(setattr, self, "pack", folder)
        status, _, report = self.run_it("--no-peers", "--only", "tp=1")
        self.assertEqual((status, set(report["results"])), (0, {"m.tp1"}))

    def test_scripts_run_programs_of_packs_by_absolute_paths(self):
        scripts = [path for path in pathlib.Path(benchmark.__file__).parent.glob("*.py")
                   if '.add_argument("pack"' in path.read_text()]
        self.assertGreaterEqual(len(scripts), 6)
        for script in scripts:
            self.assertIn('("pack", type=lambda path: pathlib.Path(path).resolve())',
                          script.read_text(), script.name)

    def test_a_failure_is_told_and_the_others_stay(self):
        status, text, report = self.run_it("--no-peers")
        self.assertEqual(status, 1)
        self.assertIn("it was asked to fail", report["failed"]["m.tp4"])
        self.assertRegex(text, "- m.tp4: .*it was asked to fail")
        self.assertIn("| tp=1, 2 layers | 8 |", text)

    def test_without_torch_it_says_so(self):
        benchmark_has_torch, benchmark.has_torch = benchmark.has_torch, lambda: False
        self.addCleanup(setattr, benchmark, "has_torch", benchmark_has_torch)
        status, text, _ = self.run_it("--only", "tp=1")
        self.assertEqual(status, 0)
        self.assertIn("- no peers but our own: this Python has no PyTorch with CUDA\n", text)

    def test_shapes_of_products_come_from_their_operations(self):
        _, _, report = self.run_it("--no-peers", "--only", "tp=2")
        engine = report["manifest"]["engines"][1]
        cases = benchmark.product_cases(report["manifest"], engine,
                                        report["results"]["m.tp2"])
        shapes = [(case["kind"], case.get("rows"), case.get("columns"), case.get("depth"))
                  for case in cases]
        # The head has fewer rows than the prompt and is none of them.
        self.assertEqual(shapes, [("e4m3", 2048, 96, 64), ("bf16", 2048, 64, 128),
                                  ("attention", None, None, None)])
        self.assertEqual((cases[2]["heads"], cases[2]["kv_heads"]), (2, 1))
        self.assertAlmostEqual(cases[0]["ours"], 4)
        self.assertAlmostEqual(cases[0]["floor"], 1)

    def test_peers_stand_beside_ours(self):
        peers = {
            "exchanges": {"results": [
                {"op": "all_reduce_sum", "way": "one shot", "bytes": 6144, "us": 4.5},
                {"op": "all_reduce_sum", "way": "bulk", "bytes": 6144, "us": 9},
                {"op": "all_gather", "way": "bulk", "bytes": 6144, "us": 1},
                {"op": "all_reduce_sum", "way": "nccl", "bytes": 6144, "us": 15}]},
            "all_reduce": {"all_reduce": [
                {"bytes": 6144, "nccl": 17, "symm_mem_one_shot": 8,
                 "symm_mem_two_shot": None}]}}
        self.assertEqual(benchmark.exchange_table(peers)[2], "| 6144 | 4.5 | 15.0 | 8.0 |")
        products = {"products": {"cases": [
            {"name": "a", "kind": "e4m3", "rows": 1, "columns": 2, "depth": 3, "floor": 1,
             "ours": 2, "us": 3},
            {"name": "b", "kind": "attention", "tokens": 4, "heads": 5, "floor": 1, "ours": 2,
             "us": None}]}}
        self.assertEqual(benchmark.product_table(products)[2:],
                         ["| a | 1 x 2 x 3 e4m3 | 1.0 | 2.0 | 3.0 |",
                          "| b | 4 tokens, 5 heads | 1.0 | 2.0 |  |"])


if __name__ == "__main__":
    unittest.main()
