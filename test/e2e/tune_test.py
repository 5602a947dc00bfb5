"""Tests of saddle_tune.py without a GPU: programs that print stand in for saddle-compile
and saddle-bench. With --compile also what the real one says of its candidates."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "saddle-tune"))

import saddle_tune  # noqa: E402

COMPILE = """#!{python}
import pathlib, sys
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text("")
assert sys.argv[1:4] == ["MODEL", "--target", "sm_90a"] and sys.argv[-1] == "tp=2", sys.argv
at = "saddle-compile: layers.0.qkv: remark: kernel linear_0, "
if "--tuning-candidate" not in sys.argv:
    print(at + "linear e4m3 1x2 tokens 8: tile 1 1, measured 1.0 us, 2.0 as planned (H, "
          "driver 5, 2026-12-01)", file=sys.stderr)
    sys.exit(0)
number = int(sys.argv[sys.argv.index("--tuning-candidate") + 1])
ways = ["stream 8 4 1", "stream 8 2 1", "tile 1 1"]
print(at + f"linear e4m3 1x2 tokens 8: {{ways[number]}}, candidate {{number}} of 3",
      file=sys.stderr)
"""

BENCH = """#!{python}
import json, pathlib, sys
if "--version" in sys.argv:
    print("saddle-bench 0"); sys.exit(0)
name = pathlib.Path(sys.argv[1]).stem
us = {{"candidate-0": 10, "candidate-1": 9.9, "candidate-2": 7, "tuned": {tuned}}}[name]
def given(option):
    return [int(number) for number in sys.argv[sys.argv.index("--" + option) + 1].split(",")]
budget = [{{"kernel": "linear_0", "launches": 2, "seconds": 2 * us * 1e-6}},
          {{"kernel": "norm_0", "launches": 2, "seconds": 1}}]
step = {{"device_seconds": {{"median": us * 1e-4}}, "budget": budget}}
print(json.dumps({{"decode": [dict(step, batch=batch, context=context)
                              for batch in given("batch") for context in given("context")],
                  "prefill": [dict(step, tokens=tokens) for tokens in given("prefill")]}}))
"""


class Tune(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.write("saddle-compile", COMPILE)
        self.write("saddle-bench", BENCH, tuned=8)
        self.pack = self.folder / "pack"
        self.call("pack", "--bin", self.folder, "--out", self.pack, "MODEL", "--",
                  "--topology", "tp=2")

    def write(self, name, text, **values):
        path = self.folder / name
        path.write_text(text.format(python=sys.executable, **values))
        path.chmod(0o755)

    def call(self, *arguments):
        sys.argv = ["saddle_tune.py", *(str(argument) for argument in arguments)]
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            self.status = saddle_tune.main()
        return output.getvalue()

    def test_every_candidate_is_compiled_once(self):
        manifest = json.loads((self.pack / "tune.json").read_text())
        self.assertEqual([engine["file"] for engine in manifest["engines"]],
                         [f"candidate-{number}.saddle" for number in range(3)])
        self.assertEqual(manifest["engines"][2]["kernels"]["linear_0"],
                         [{"product": "linear e4m3 1x2 tokens 8", "division": "tile 1 1"}])
        self.assertEqual(manifest["tuned"]["linear_0"][0]["division"], "tile 1 1")

    def test_the_fastest_goes_into_the_table(self):
        table = self.folder / "Tuned.json"
        table.write_text(json.dumps({"products": [
            {"product": "another", "division": "tile 2 2", "us": 1, "planned_us": 2},
            {"product": "linear e4m3 1x2 tokens 8", "division": "stream 1 1 1", "us": 1,
             "planned_us": 2}]}))
        text = self.call("run", self.pack, "--table", table, "--passes", 2)
        self.assertEqual(self.status, 0)
        self.assertIn("1 products measured, 1 divided otherwise than planned", text)
        written = json.loads(table.read_text())
        self.assertEqual(written["multiprocessors"], 132)
        # What was not measured stays.
        self.assertEqual(written["products"], [
            {"product": "another", "division": "tile 2 2", "us": 1, "planned_us": 2},
            {"product": "linear e4m3 1x2 tokens 8", "division": "tile 1 1", "us": 7.0,
             "planned_us": 10.0}])

    def test_a_candidate_must_win_in_every_pass_by_the_margin(self):
        def passes(*candidates):
            return [{number: {("p", "decode 1"): (f"way {number}", us)}
                     for number, us in enumerate(times)} for times in candidates]

        choose = saddle_tune.best_divisions
        self.assertEqual(choose(passes((10, 9.5, 8), (10, 9.5, 11)), 0.03),
                         {"p": (1, {"product": "p", "division": "way 1", "us": 9.5,
                                    "planned_us": 10})})
        self.assertEqual(choose(passes((10, 9.8), (10, 9.8)), 0.03), {})
        # The planner's choice again, as other products have more candidates.
        same = passes((10, 5))
        same[0][1]["p", "decode 1"] = ("way 0", 5)
        self.assertEqual(choose(same, 0.03), {})
        # A pass behind the first has no others than those that won.
        again = passes((10, 9.5, 8), (10, 9.5, 8))
        del again[1][2]
        self.assertEqual(choose(again, 0.03)["p"][0], 1)

    def test_a_candidate_must_not_lose_anywhere(self):
        def times(short, long):
            return {0: {("p", "short"): ("a", 10), ("p", "long"): ("a", 100)},
                    1: {("p", "short"): ("b", short), ("p", "long"): ("b", long)}}

        choose = saddle_tune.best_divisions
        self.assertEqual(choose([times(11, 80)] * 2, 0.03), {})
        # In one pass only, so that it is noise.
        self.assertEqual(choose([times(11, 80), times(10, 80)], 0.03)["p"][1]["us"], 45)

    def test_later_passes_take_what_won(self):
        text = self.call("run", self.pack, "--table", self.folder / "T.json", "--passes", 2,
                         "--times", self.folder / "times.json")
        self.assertIn("tile 1 1, 7.0 us instead of 10.0", text)
        passes = json.loads((self.folder / "times.json").read_text())
        self.assertEqual([sorted(each) for each in passes], [["0", "1", "2"], ["0", "2"]])

    def test_a_check_tells_steps_that_are_slower(self):
        text = self.call("check", self.pack)
        self.assertEqual(self.status, 0)
        for name in ("decode 64 at 1024", "decode 8 at 32768", "prefill 8192"):
            self.assertIn(f"ok     {name}: 0.800 ms, 1.000 as planned", text)
        # 64 sequences of so many tokens have no pages.
        self.assertNotIn("decode 64 at 8192", text)
        self.write("pack/saddle-bench", BENCH, tuned=12)
        self.assertIn("SLOWER prefill 2048: 1.200 ms, 1.000 as planned",
                      self.call("check", self.pack))
        self.assertEqual(self.status, 1)

    def test_programs_that_fail_are_named(self):
        self.write("pack/saddle-bench", "#!{python}\nimport sys\nsys.exit('no GPU')\n")
        self.assertIn("saddle-bench", self.call("check", self.pack))
        self.assertEqual(self.status, 1)

    def test_remarks_of_other_kinds_are_none(self):
        self.assertEqual(saddle_tune.read_remarks(
            "saddle-compile: remark: 3 kernel sources in 1.0 s\n"
            "kernel a, linear: tiles, candidate 0 of 2\n"), ({}, 0))


if __name__ == "__main__":
    unittest.main()
