"""Runs of saddle-bench, as test/gpu/benchmark.py and saddle_tune.py make them: the options of
a measurement, the machine it is made on, what it says. Packs hold a copy beside the program.

Python's standard library only.
"""

import json
import subprocess


class Failure(Exception):
    pass


def execute(command, timeout):
    """(stdout, stderr) of a command that must succeed."""
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{command[0]}: {error}") from error
    if result.returncode:
        raise Failure(f"{' '.join(command)}: exit {result.returncode}: "
                      f"{result.stderr.strip()[-800:]}")
    return result.stdout, result.stderr


def machine():
    """(GPUs, name of the first, driver); no GPUs where nvidia-smi is not there."""
    try:
        lines = execute(["nvidia-smi", "--query-gpu=name,driver_version",
                         "--format=csv,noheader"], 60)[0].strip().splitlines()
    except Failure:
        return 0, "no GPU", "none"
    name, driver = (part.strip() for part in lines[0].split(","))
    return len(lines), name, driver


def version(pack):
    return execute([pack / "saddle-bench", "--version"], 60)[0].strip()


def add_options(parser, context, kv_tokens, steps, timeout):
    """What is measured, with a program's defaults."""
    parser.add_argument("--weights", default="synthetic:7")
    parser.add_argument("--batch", default="1,8,64")
    parser.add_argument("--context", default=context)
    parser.add_argument("--prefill", default="2048,8192")
    parser.add_argument("--kv-tokens", type=int, default=kv_tokens)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--timeout", type=int, default=timeout,
                        help="seconds for each program")


def measure(args, engine, alone, budget=None):
    """What saddle-bench says of an engine of args.pack; `alone`: of rank 0, without the
    others."""
    command = [args.pack / "saddle-bench", args.pack / engine, "--weights", args.weights,
               "--batch", args.batch, "--context", args.context, "--steps", args.steps,
               "--prefill", args.prefill, "--kv-tokens", args.kv_tokens, "--json"]
    if budget:
        command += ["--budget", budget]
    if alone:
        command += ["--alone", 0]
    return json.loads(execute(command, args.timeout)[0])
