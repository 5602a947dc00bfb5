"""Every count of a topology that a message calls legal compiles, and every one
that compiles is called so.

legal.py SADDLE_COMPILE CONFIG SCRATCH_FILE"""

import re
import subprocess
import sys


def attempt(tool, config, output, topology):
    """"" or the message."""
    command = [tool, config, "-o", output, "--max-batch", "1", "--prefill-chunk", "2", "--topology", topology]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in (0, 1):
        sys.exit(f"{topology}: exit code {result.returncode}\n{result.stderr}")
    return result.stderr if result.returncode else ""


def numbers(message, name):
    found = re.search(rf"legal {name}(?: up to \d+)?: ([\d, ]+?)(?: \[D\w+\])?$", message, re.M)
    return [int(number) for number in found.group(1).split(", ")] if found else None


def main():
    tool, config, output = sys.argv[1:]
    # What is varied, among what else, up to where, and a value that is refused.
    series = [
        ("tp", "", range(1, 65), 5),
        ("tp", ",dp=2", range(2, 65, 2), 10),
        ("tp", ",ep=3", range(3, 65, 3), 15),
        ("ep", ",tp=8", (1, 2, 4, 8), 4),
        ("ep", ",tp=12", (1, 2, 3, 4, 6, 12), 4),
    ]
    failures = 0
    for name, rest, values, refused in series:
        message = attempt(tool, config, output, f"{name}={refused}{rest}")
        legal = numbers(message, name)
        compiled = [value for value in values if not attempt(tool, config, output, f"{name}={value}{rest}")]
        if legal != compiled:
            failures += 1
            print(f"{name}=...{rest}: called legal {legal}, compiled {compiled}: {message}")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
