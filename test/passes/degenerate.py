"""Every pass on modules that no pass would leave: each ends with success or an
error, never with a signal and never by running out of time.

degenerate.py SADDLE_OPT SCRATCH_FILE"""

import itertools
import re
import subprocess
import sys

SECONDS = 20
HUGE = 2**63 - 1
LIMITS = "model.limits = {max_batch = %d, max_seq_len = %d, prefill_chunk = %d, page_size = %d}"
TOPOLOGY = "dist.topology = {tp = %d, dp = %d, ep = %d, pp = %d}"
TENSOR = "tensor<4x8xbf16>"

BODIES = {
    "empty": "",
    "declaration": f"func.func private @step({TENSOR}) -> {TENSOR}",
    "declaration of a phase": f'func.func private @decode_1({TENSOR}) -> {TENSOR} attributes {{model.phase = "decode"}}',
    "nothing done": "func.func @step() { return }",
    "two blocks": "func.func @step() { cf.br ^a\n^a: return }",
    "layers": f"func.func @step(%x: {TENSOR}) -> {TENSOR} {{\n"
    f"%0 = model.layer_boundary %x : {TENSOR}\n%1 = model.layer_boundary %0 : {TENSOR}\nreturn %1 : {TENSOR}\n}}",
}
ATTRIBUTES = {
    "none": "",
    "zero": LIMITS % (0, 0, 0, 0) + ", " + TOPOLOGY % (0, 0, 0, 0),
    "negative": LIMITS % (-1, -1, -1, -1) + ", " + TOPOLOGY % (-1, -1, -1, -1),
    "plain": LIMITS % (4, 16, 4, 4) + ", " + TOPOLOGY % (1, 1, 1, 1),
    "huge": LIMITS % (HUGE, HUGE, HUGE, HUGE) + ", " + TOPOLOGY % (HUGE, HUGE, HUGE, HUGE),
    "huge pp": TOPOLOGY % (1, 1, 1, HUGE),
}
# Extreme options beside the passes without any.
OPTIONS = [
    f"--dist-attach-mesh=tp={HUGE} dp=2",
    f"--dist-attach-mesh=tp=2 dp={HUGE}",
    f"--dist-attach-mesh=pp={HUGE}",
    "--dist-attach-mesh=tp=-1",
    f"--dist-split-stages=layers={HUGE},{HUGE}",
    f"--model-specialize-buckets=buckets={HUGE}",
    f"--model-specialize-buckets=prefill-rows={HUGE}",
    f"--engine-plan-memory=alignment={2**62}",
    "--engine-plan-memory=alignment=0",
]


def passes_of(tool):
    """All of ours, as flags."""
    text = subprocess.run([tool, "--help"], capture_output=True, text=True, check=True).stdout
    found = sorted(set(re.findall(r"^\s+(--(?:model|dist|kernel|engine)-[a-z-]+)", text, re.M)))
    assert len(found) > 15, found
    return found


def problem_of(tool, path, text, flag):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        command = [tool, path, "--split-input-file", flag]
        code = subprocess.run(command, capture_output=True, timeout=SECONDS).returncode
        return "" if code in (0, 1) else f"exit code {code}"
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"


def main():
    tool, path = sys.argv[1:]
    modules = {}
    for (body, text), (kind, attributes) in itertools.product(BODIES.items(), ATTRIBUTES.items()):
        mesh = "" if kind == "none" else 'dist.mesh @mesh ["tp" = 1]\n'
        modules[f'"{body}" with attributes "{kind}"'] = f"module attributes {{{attributes}}} {{\n{mesh}{text}\n}}\n"
    failures = 0
    for flag in passes_of(tool) + OPTIONS:
        if not problem_of(tool, path, "// -----\n".join(modules.values()), flag):
            continue
        failures += 1
        for name, text in modules.items():
            if problem := problem_of(tool, path, text, flag):
                print(f"{flag} on module {name}: {problem}")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
