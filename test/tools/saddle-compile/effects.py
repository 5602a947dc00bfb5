"""Every option of saddle-compile changes what is made, or is refused where it cannot.

effects.py SADDLE_COMPILE SOURCE_ROOT SCRATCH_FOLDER

The table holds every option of --help: its value, what else stands on a command line on which it changes the engine, and what on one where it cannot,
or why there is none such."""

import pathlib
import re
import subprocess
import sys

NANO, DRAFT = "models/nano/bf16", "models/nano/draft"
LINEAR = "test/e2e/goldens/m1-one-layer"
DEVICE = [NANO, "--layers", "1", "--buckets", "8", "--target", "sm_90a", "--compile-to", "engine"]

# option: (value, a line that it changes, a line where it has no effect or the reason why there is none)
OPTIONS = {
    "--topology": ("tp=2", [NANO], [NANO, "--compile-to", "model"]),
    "--target": ("sm_90a", [NANO, "--compile-to", "dist"], [NANO, "--compile-to", "start", "--prefill-chunk", "64"]),
    "--compute-dtype": ("f32", [NANO], "every program computes"),
    "--kv-dtype": ("fp8", [NANO], "every program has a cache, or is refused"),
    "--max-batch": ("4", [NANO], "limits are every engine's"),
    "--max-seq-len": ("64", [NANO], "limits are every engine's"),
    "--prefill-chunk": ("32", [NANO], "limits are every engine's"),
    "--page-size": ("8", [NANO], "limits are every engine's"),
    "--buckets": ("8", [NANO], [NANO, "--compile-to", "start"]),
    "--rms-factors": ("sunk", [LINEAR], [NANO]),
    "--candidates": ("8", [NANO], "every engine has logits"),
    "--stage-layers": ("1,3", [NANO, "--topology", "tp=1,pp=2"], [NANO, "--topology", "tp=2"]),
    "--layers": ("2", [NANO], "every model has layers"),
    "--draft": (DRAFT, [NANO], "a draft is a program"),
    "--spec-tokens": ("2", [NANO], [NANO, "--compile-to", "start"]),
    "--draft-taps": ("0,1,2", [NANO, "--draft", DRAFT], [NANO]),
    "--draft-taps-are": ("leaving", None, [NANO]),  # that it counts: test/e2e/speculation.py
    "--draft-embedding": ("whole", [NANO, "--draft", DRAFT, "--topology", "tp=2"], [NANO, "--draft", DRAFT, "--topology", "tp=2,dp=2"]),
    "--reduction": ("reduce_scatter", [NANO, "--topology", "tp=2"], [NANO]),
    "--norm": ("late", [NANO, "--topology", "tp=4,dp=2,ep=2"], [NANO, "--topology", "tp=2"]),
    "--experts": ("gathered", [NANO, "--topology", "tp=2"], [NANO]),
    "--replica-rows": ("padded", [NANO, "--topology", "tp=4,dp=2,ep=2"], [NANO, "--topology", "tp=2"]),
    "--nvcc": ("x", None, [NANO]),  # what they do: device-code.test
    "--kernel-cache": ("x", None, [NANO]),
    "--dump-kernels": ("x", None, [NANO]),
    "--tuning-candidate": ("1", DEVICE, [NANO]),
}
# What is made besides, and how.
OTHERS = {"--output", "--compile-to", "--compile-from", "--dump-phases-to", "--dump-passes-to", "--golden", "--explain", "--mlir", "--help", "--version"}
REFUSED = re.compile(r"has no effect|has no kernel sources")


class Compiler:
    def __init__(self, tool, root, scratch):
        self.tool, self.root, self.output = tool, root, pathlib.Path(scratch) / "engine"

    def __call__(self, line):
        """Bytes and message."""
        self.output.unlink(missing_ok=True)
        result = subprocess.run([self.tool, *line, "-o", self.output.absolute()], cwd=self.root, capture_output=True, text=True)
        return self.output.read_bytes() if result.returncode == 0 else b"", result.stderr


def main():
    tool, root, scratch = sys.argv[1:]
    made = Compiler(tool, root, scratch)
    help_text = subprocess.run([tool, "--help"], capture_output=True, text=True).stdout
    offered = set(re.findall(r"^ +(?:-\w,)?(--[\w-]+)", help_text, re.M))
    problems = [f"{name} has no line in this table, or is no option" for name in offered ^ (set(OPTIONS) | OTHERS)]
    plain = {}
    for name, (value, changed, unread) in OPTIONS.items():
        if changed:
            if tuple(changed) not in plain:
                plain[tuple(changed)] = made(changed)
            before, message = plain[tuple(changed)]
            after, error = made([*changed, name, value])
            if not before or not after or before == after:
                problems.append(f"{name} {value} does not change {changed}: {message}{error}")
        if isinstance(unread, list):
            after, error = made([*unread, name, value])
            if after or not REFUSED.search(error):
                problems.append(f"{name} {value} has no effect on {unread}, and nothing says so: {error}")
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
