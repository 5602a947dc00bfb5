"""Damages inputs of saddle-compile at random, with a fixed seed: the answer is
exit code 0 or 1 and, for 1, a message; never a signal, never a hang. What is
written can be loaded.

damage.py SADDLE_COMPILE FOLDER CONFIG COUNT: FOLDER holds the phase files of a
compilation of CONFIG (--dump-phases-to) and takes the damaged copies."""

import os
import random
import re
import subprocess
import sys

NUMBERS = ["0", "1", "-1", "3", "7", "4097", "9223372036854775807", "99999999999999999999"]
PHASES = ["start", "model", "dist", "kernel", "engine"]
SECONDS = 30


def cut(rng, text):
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.randrange(1, 20) :]


def truncate(rng, text):
    return text[: rng.randrange(len(text))]


def replace_number(rng, text):
    number = rng.choice(list(re.finditer(r"\d+", text)))
    return text[: number.start()] + rng.choice(NUMBERS) + text[number.end() :]


def swap_names(rng, text):
    names = list(re.finditer(r"[@%\"!#][\w.]+", text))
    a, b = rng.choice(names), rng.choice(names)
    return text[: a.start()] + b.group() + text[a.end() :]


def move_line(rng, text):
    lines = text.split("\n")
    line = lines.pop(rng.randrange(len(lines)))
    if rng.random() < 0.5:
        lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def repeat_line(rng, text):
    lines = text.split("\n")
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return "\n".join(lines)


DAMAGES = [cut, truncate, replace_number, replace_number, swap_names, swap_names, move_line, repeat_line]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    compiler, folder, config = sys.argv[1:4]
    rng = random.Random(20)
    config = read(config)
    phases = {phase: read(f"{folder}/{i}-{phase}.mlir") for i, phase in enumerate(PHASES)}
    failures = 0
    for run in range(int(sys.argv[4])):
        phase = rng.choice(PHASES + ["config"])
        text = rng.choice(DAMAGES)(rng, phases.get(phase, config))
        path = os.path.join(folder, "config.json" if phase == "config" else "damaged.mlir")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        command = [compiler, path, "-o", os.path.join(folder, "out")]
        if phase in ("config", "start", "model"):  # others have a topology
            command += ["--topology", f"tp={rng.choice([1, 2, 8])}"]
        if phase != "config":
            command += ["--compile-from", phase]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            problem = None
            if result.returncode not in (0, 1):
                problem = f"exit code {result.returncode}"
            elif result.returncode == 1 and "saddle-compile: error: " not in result.stderr:
                problem = "exit code 1 without a message"
            elif result.returncode == 0:
                loaded = subprocess.run(["saddle-inspect", command[3]], capture_output=True, text=True, timeout=SECONDS)
                problem = loaded.stderr or (f"saddle-inspect: exit code {loaded.returncode}" if loaded.returncode else None)
        except subprocess.TimeoutExpired:
            problem = f"no end after {SECONDS} s"
        if problem:
            failures += 1
            kept = os.path.join(folder, f"failure-{run}" + os.path.splitext(path)[1])
            os.replace(path, kept)
            print(f"{' '.join(command)} on {kept}: {problem}")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
