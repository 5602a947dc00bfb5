"""Every limit of addresses ends saddle-compile with a message or a file, and never with a signal.

    shortage.py COMMAND...

COMMAND takes a little more memory than the start of the tool. Limits go from where the system's
loader finds room for the libraries to where the command succeeds. Below, no code of Saddle's runs: the
loader says so itself, with a status of its own, at every limit from 16 MB up."""

import re
import resource
import subprocess
import sys

# The status that the system's loader ends with, which has its own words.
LOADER = 127
UNMAPPED = re.compile(r".*: error while loading shared libraries: \S+\.so\S*: ")
NEEDED = re.compile(r"saddle-compile: error: (\d+) kB of addresses are allowed \(ulimit -v\), but (\d+) kB are the "
                    r"least that is needed; raise the limit \[D\w+\]$")


def under(command, limit):
    """(exit status, last line of standard error) with so many kB; a signal is negative."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit << 10, limit << 10)))
    return done.returncode, (done.stderr.rstrip("\n").split("\n") or [""])[-1]


def main():
    command = sys.argv[1:]
    low, high = 64 << 10, 4 << 20
    while high - low > 16:
        middle = (low + high) // 2
        low, high = (low, middle) if under(command, middle)[0] != LOADER else (middle, high)
    for limit in range(16 << 10, low, 8 << 10):
        status, said = under(command, limit)
        if status != LOADER or not UNMAPPED.match(said):
            sys.exit(f"{limit} kB: exit status {status}: {said}")
    status, said = under(command, high)
    needed = NEEDED.match(said)
    if status != 1 or not needed or int(needed[1]) != high:
        sys.exit(f"{high} kB: exit status {status}: {said}")
    seen = {"too few": 0, "out of memory": 0}
    # Just less than what it says, and from there until it is enough.
    limit = int(needed[2]) - 16
    while status != 0:
        status, said = under(command, limit)
        if status == 1 and NEEDED.match(said):
            seen["too few"] += 1
        elif status == 1 and said.startswith("error: out of memory; raise the limit of memory"):
            seen["out of memory"] += 1
        elif status != 0:
            sys.exit(f"{limit} kB: exit status {status}: {said}")
        limit += 3000
    print(seen)
    if 0 in seen.values():
        sys.exit("expected to meet each of them")


if __name__ == "__main__":
    main()
