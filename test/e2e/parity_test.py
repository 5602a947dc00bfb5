"""Tests of parity.py and greedy.py themselves: they must be able to fail.

A stand-in for both tools answers from the goldens, with a fault on demand.
"""

import array
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import parity  # noqa: E402
from saddle_e2e import Failure, Tensor, read_tensors, write_tensors  # noqa: E402

STAND_IN = """#!{python}
import sys
sys.path.insert(0, {here!r})
import array, pathlib
from saddle_e2e import Tensor, read_tensors, write_tensors
FAULT = {fault!r}
argv = sys.argv[1:]
if "--weights" not in argv:  # saddle-compile
    if FAULT == "compile":
        print("config.json: broken", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
option = lambda name: argv[argv.index(name) + 1]
golden = read_tensors(pathlib.Path(option("--weights")) / "goldens.safetensors")
count = int(option("--max-new-tokens"))
inputs = [[int(t) for t in argv[i + 1].split(",")]
          for i, a in enumerate(argv) if a == "--tokens"]
out = {{}}
for i, ids in enumerate(inputs):
    s = f".{{i}}" if len(inputs) > 1 else ""
    full = golden["tokens" + s].data.tolist()
    tokens = array.array("i", (full + [0])[:len(ids) + count])
    logits = golden["logits_{kind}" + s]
    if FAULT == "logit" and i == len(inputs) - 1:
        logits.data[-3] += 2e-4 * logits.largest()
    if FAULT == "nan":
        logits.data[2 * logits.shape[1]] = float("nan")
    if FAULT == "token":
        tokens[-1] ^= 1
    if FAULT == "short":
        logits = Tensor([4, logits.shape[1]], logits.data[:4 * logits.shape[1]])
    out["tokens" + s] = Tensor([len(tokens)], tokens)
    out["logits" + s] = logits
if FAULT == "missing":
    del out["logits"]
write_tensors(option("--logits-out"), out)
"""


def run(case, fault="", kind="f32", *extra):
    with tempfile.TemporaryDirectory() as tmp:
        tool = pathlib.Path(tmp) / "tool"
        tool.write_text(STAND_IN.format(python=sys.executable, here=str(HERE),
                                        fault=fault, kind=kind))
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        result = subprocess.run(
            [sys.executable, HERE / "parity.py", "--compile", tool, "--run", tool,
             "--case", HERE / "goldens" / case, *extra],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.returncode, result.stdout


class WholeProgram(unittest.TestCase):
    def test_agreement_passes_in_both_modes(self):
        code, text = run("three-kv-heads", "", "f32", "--modes", "decode,prefill")
        self.assertEqual(code, 0, text)
        self.assertIn("56 rows, error 0.00e+00 <= 0.0001", text)
        self.assertEqual(text.count("\n"), 2)

    def test_batch_is_compared_per_sequence(self):
        code, text = run("batch")
        self.assertEqual(code, 0, text)
        self.assertIn("37 rows", text)
        self.assertIn("72 rows", text)
        code, text = run("batch", "logit")
        self.assertEqual(code, 1, text)
        self.assertEqual(text.count("FAILED"), 1)

    def test_bf16_compares_with_bf16(self):
        code, text = run("three-kv-heads", "", "bf16", "--compute-dtype", "bf16")
        self.assertEqual(code, 0, text)
        self.assertIn("error 0.00e+00 <= 0.02", text)

    def test_fp8_in_bf16_compares_with_quantised_activations(self):
        code, text = run("fp8-odd", "", "bf16_act", "--compute-dtype", "bf16")
        self.assertEqual(code, 0, text)
        self.assertIn("against bf16_act", text)

    def test_every_fault_is_found(self):
        expected = {
            "logit": "differ by 0.0002",
            "nan": "worst at position 2, token 0",
            "token": "token 55 is",
            "short": "4 rows of logits, expected at least 55",
            "missing": 'tensor "logits" is missing',
            "compile": "config.json: broken",
        }
        for fault, message in expected.items():
            with self.subTest(fault):
                code, text = run("three-kv-heads", fault)
                self.assertEqual(code, 1, text)
                self.assertIn(message, text)

    def test_bf16_of_a_case_without_it_is_a_usage_error(self):
        code, text = run("near-tie", "", "f32", "--compute-dtype", "bf16")
        self.assertEqual(code, 2)
        self.assertIn("has no bf16 goldens", text)


def matrix(rows):
    return Tensor([len(rows), len(rows[0])],
                  array.array("f", (x for row in rows for x in row)))


class Compare(unittest.TestCase):
    golden = matrix([[1, 0], [0, 4], [2, 1.9]])  # largest 4

    def compare(self, tokens, logits, lead_golden=None):
        return parity.compare(tokens, matrix(logits), [7, 0, 1], self.golden, 1,
                              0.05, lead_golden)

    def test_error_is_relative_to_the_largest_logit(self):
        rows, error = self.compare([7, 0, 1], [[1, 0.1], [0, 4], [2, 1.9]])
        self.assertEqual(rows, 3)
        self.assertAlmostEqual(error, 0.025, places=6)

    def test_near_tie_excuses_a_token_and_ends_the_comparison(self):
        # Token 2 follows row 1. A lead of 0.2 of 4 is within twice the bound.
        near = matrix([[1, 0], [3.8, 4], [2, 1.9]])
        wild = [[1, 0], [0, 4], [99, 99]]
        rows, _ = self.compare([7, 0, 0], wild, near)
        self.assertEqual(rows, 2)
        with self.assertRaisesRegex(Failure, "token 2 is 0, expected 1"):
            self.compare([7, 0, 0], wild)

    def test_clear_lead_excuses_nothing(self):
        with self.assertRaisesRegex(Failure, "leads by 1 of the largest"):
            self.compare([7, 0, 0], [[1, 0], [0, 4], [2, 1.9]], self.golden)

    def test_changed_prompt(self):
        with self.assertRaisesRegex(Failure, "prompt token 0 came back as 6"):
            self.compare([6, 0, 1], [[1, 0], [0, 4], [2, 1.9]])

    def test_wrong_vocabulary(self):
        with self.assertRaisesRegex(Failure, r"shape \[3, 3\]"):
            self.compare([7, 0, 1], [[0, 0, 0]] * 3)


class Goldens(unittest.TestCase):
    def test_tokens_are_the_arg_max_and_leads_are_clear(self):
        folders = sorted(p.parent for p in HERE.glob("goldens/*/case.json"))
        self.assertGreaterEqual(len(folders), 10)
        for folder in folders:
            with self.subTest(folder.name):
                for prompt_len, tokens, exact, _ in parity.load_sequences(
                        folder, "f32"):
                    self.assertEqual(len(tokens) - prompt_len, 32)
                    scale = exact.largest()
                    for i in range(prompt_len, len(tokens)):
                        row = exact.row(i - 1).tolist()
                        self.assertEqual(row.index(max(row)), tokens[i])
                        self.assertGreater(parity.lead_of_best(row) / scale, 1e-3)

    def test_reader_and_writer_agree(self):
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "x")
            write_tensors(path, {
                "a": Tensor([2, 3], array.array("i", range(6))),
                "b": Tensor([1], array.array("f", [1.5]))})
            back = read_tensors(path)
        self.assertEqual(back["a"].row(1).tolist(), [3, 4, 5])
        self.assertEqual(back["b"].data.tolist(), [1.5])


if __name__ == "__main__":
    unittest.main()
