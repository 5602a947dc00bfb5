"""Numbers do not depend on the topology.

Draws tiny configs, topologies, batches and options from a seed. A topology that
the rules below call legal must give tp=1's logits and tokens, in prefill and in
decode; every other one must be refused with a message that names the field and
the numbers. The rules are written here a second time, without the compiler, so
that a wrong refusal and a wrong acceptance both fail. --named runs a fixed list
on a real checkpoint instead.

Standard library only.
"""

import argparse
import concurrent.futures
import json
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from saddle_e2e import Failure, read_tensors, without_unfollowed

TOLERANCE = 1e-4  # of the largest logit
TIE = 2e-4        # a gap below this may turn the choice of a token
TIMEOUT = 100     # seconds for one tool; a rank's own limit is shorter

NAMED = ("tp=2", "tp=4", "tp=8", "tp=16", "tp=4,ep=4", "tp=8,ep=8",
         "tp=8,ep=2", "tp=8,dp=8,ep=8", "tp=8,dp=2", "tp=4,dp=4,ep=2",
         "tp=16,ep=8", "tp=8,pp=2", "tp=2,pp=4", "tp=4,dp=2,ep=4,pp=2",
         "tp=64,ep=8")


def execute(command, timeout=TIMEOUT):
    """CompletedProcess; a signal or a stall is a Failure whatever was expected."""
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failure(f"{shlex.join(command)}\n  no end within {timeout} s")
    if result.returncode < 0 or "Assertion" in result.stderr:
        raise Failure(f"{shlex.join(command)}\n  died by signal "
                      f"{-result.returncode}\n{result.stderr[-2000:]}")
    return result


def compile_command(tool, model, engine, options):
    return [tool, model, *options, "-o", engine]


def run_command(tool, engine, weights, prompts, new_tokens, logits, options=()):
    """`logits` None: tokens as JSON on stdout."""
    command = [tool, engine, "--weights", weights, "--max-new-tokens",
               new_tokens, "--temperature", 0, "--ignore-eos", "--timeout", 60,
               *(["--logits-out", logits] if logits else ["--json"]), *options]
    for prompt in prompts:
        command += ["--tokens", ",".join(map(str, prompt))]
    return command


def read_result(logits, count):
    """[(tokens, logits)] of a run with `count` prompts."""
    tensors = read_tensors(logits)
    names = [""] if count == 1 else [f".{i}" for i in range(count)]
    return [(tensors["tokens" + n].data.tolist(), tensors["logits" + n])
            for n in names]


def check_last_rows(tool, engine, weights, prompts, new_tokens, found,
                    options=()):
    """The run without --logits-out, where prefill computes logits of last rows
    only, must give the same tokens; Failure otherwise."""
    result = execute(run_command(tool, engine, weights, prompts, new_tokens, None,
                                 options))
    if result.returncode:
        raise Failure(f"the run for tokens only ended with {result.returncode}: "
                      f"{result.stderr.strip()}")
    for index, entry in enumerate(json.loads(result.stdout)["prompts"]):
        tokens = entry["prompt_tokens"] + entry["tokens"]
        if tokens != found[index][0]:
            raise Failure(f"prompt {index}: tokens are {tokens} without logits of "
                          f"every position, expected {found[index][0]}")


def compare(reference, found):
    """Largest difference as a share of the largest logit; Failure when tokens
    differ that are no near tie. Behind such a tie nothing is comparable."""
    worst = 0.0
    for index, ((tokens, logits), (found_tokens, found_logits)) in enumerate(
            zip(reference, found)):
        where = f"prompt {index}"
        if len(tokens) != len(found_tokens) or logits.shape != found_logits.shape:
            raise Failure(f"{where}: {len(found_tokens)} tokens, logits "
                          f"{found_logits.shape}, expected {len(tokens)}, "
                          f"{logits.shape}")
        same = next((i for i, pair in enumerate(zip(tokens, found_tokens))
                     if pair[0] != pair[1]), len(tokens))
        largest = logits.largest()
        if not largest > 0:
            raise Failure(f"{where}: the reference logits are all zero")
        end = min(same, logits.shape[0]) * logits.shape[1]
        for a, b in zip(logits.data[:end], found_logits.data[:end]):
            error = abs(a - b)
            if not error <= worst * largest:  # a NaN too
                worst = error / largest
                if worst != worst:
                    raise Failure(f"{where}: logits are not numbers")
        if same < len(tokens):
            row = logits.row(same - 1)
            gap = (max(row) - row[found_tokens[same]]) / largest
            if gap > TIE:
                raise Failure(f"{where}: token {same} is {found_tokens[same]}, "
                              f"expected {tokens[same]}; gap {gap:.1e}, logits "
                              f"before it differ by {worst:.1e}")
    return worst


#===--- What is legal ----------------------------------------------------===#

def places_heads(config, ways):
    """Whole query heads per rank; KV heads split evenly or repeated evenly, where
    there are any: linear attention has none."""
    heads = config["num_attention_heads"]
    kv = config["num_key_value_heads"]
    cached = 1 in config.get("attn_type_list", [1])
    return heads % ways == 0 and (not cached or kv % ways == 0 or ways % kv == 0)


def broken_rules(config, topology, stage_layers=None, draft=None):
    """Field names that a refusal may give; empty when the topology is legal."""
    tp, dp, ep, pp = (topology[k] for k in ("tp", "dp", "ep", "pp"))
    broken = set()
    if tp % dp:
        broken.add("topology")
    if tp % ep:
        broken.add("topology")
    if tp % dp == 0:
        width = tp // dp
        # More ranks than heads: groups of ranks repeat one share, always legal.
        for each in [config, draft] if draft else [config]:
            if width <= each["num_attention_heads"] and not places_heads(each, width):
                broken |= {"num_attention_heads", "num_key_value_heads"}
    if config["num_local_experts"] % ep:
        broken.add("num_local_experts")
    if tp % ep == 0 and config["intermediate_size"] % (tp // ep):
        broken.add("intermediate_size")
    if config.get("shared_intermediate_size", 0) % tp:
        broken.add("shared_intermediate_size")
    layers = config["num_hidden_layers"]
    if pp > layers:
        broken.add("num_hidden_layers")
    if stage_layers and (len(stage_layers) != pp or sum(stage_layers) != layers):
        broken |= {"num_hidden_layers", "stage"}
    return broken


def check_refusal(result, broken):
    """Exit 1 and a line `error: PLACE: FIELD ... NUMBER ...`."""
    if result.returncode != 1:
        raise Failure(f"exit {result.returncode}, expected 1: {result.stderr}")
    errors = [line for line in result.stderr.splitlines() if "error: " in line]
    if not errors:
        raise Failure(f"exit 1 without a message: {result.stderr!r}")
    first = errors[0].split("error: ", 1)[1]
    if not any(field in first for field in broken):
        raise Failure(f"the message names none of {sorted(broken)}: {first}")
    if not re.search(r"\d", first):
        raise Failure(f"the message has no numbers: {first}")


#===--- Draws -------------------------------------------------------------===#

def draw_config(rng):
    heads = rng.choice((1, 2, 2, 3, 4, 4, 4, 6, 8, 8, 8, 12, 16, 16))
    kv = rng.choice([k for k in range(1, heads + 1) if heads % k == 0])
    head_dim = rng.choice((8, 10, 16, 16, 24, 32))
    experts = rng.choice((1, 2, 3, 4, 4, 5, 6, 8, 8, 8, 12))
    config = {
        "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
        "hidden_act": "silu", "dtype": rng.choice(("bfloat16", "float32")),
        "hidden_size": rng.choice((16, 24, 32, 40, 48, 64)),
        "num_hidden_layers": rng.choice((1, 2, 2, 3, 4)),
        "num_attention_heads": heads, "num_key_value_heads": kv,
        "head_dim": head_dim,
        "rotary_dim": rng.randrange(2, head_dim + 1, 2),
        "rope_theta": rng.choice((10000.0, 5000000.0)),
        "num_local_experts": experts,
        "num_experts_per_tok": rng.randint(1, min(experts, 4)),
        "intermediate_size": rng.choice((8, 16, 24, 32, 40, 48, 64, 64, 96, 128,
                                         136, 192, 192)),
        "vocab_size": rng.choice((64, 96, 96, 97, 128, 131, 160)),
        "tie_word_embeddings": rng.random() < 0.25,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 128,
    }
    if rng.random() < 0.4:
        config["dtype"] = "bfloat16"
        config["quantization_config"] = {
            "quant_method": "fp8", "fmt": "float8_e4m3fn",
            "activation_scheme": "dynamic", "weight_block_size": [128, 128],
            "modules_to_not_convert": ["gate", "e_score_correction_bias",
                                       "lm_head"]}
    return config


def draw_m1_config(rng):
    """The same sizes with layers of linear and of full attention."""
    config = draw_config(rng)
    if "quantization_config" in config:
        config["quantization_config"]["modules_to_not_convert"] = ["gate", "lm_head"]
    config |= {"architectures": ["MiniMaxM1ForCausalLM"], "model_type": "minimax_m1",
               "attn_type_list": [int(rng.random() < 0.35)
                                  for _ in range(config["num_hidden_layers"])],
               "postnorm": rng.random() < 0.7}
    if rng.random() < 0.7:
        config |= {f"layernorm_{kind}_{factor}": rng.choice((0.7, 1.0, 1.8, 3.5))
                   for kind in ("linear_attention", "full_attention", "mlp")
                   for factor in ("alpha", "beta")}
    if rng.random() < 0.4:
        config["shared_intermediate_size"] = rng.choice((8, 12, 16, 48))
    return config


def draw_draft(rng, config):
    """An EAGLE3 draft for a model, with sizes of its own."""
    heads = rng.choice((1, 2, 3, 4, 4, 8, 8, 12))
    layers = config["num_hidden_layers"]
    vocab = config["vocab_size"]
    return {
        "architectures": ["LlamaForCausalLMEagle3"], "dtype": "bfloat16",
        "hidden_size": rng.choice((16, 32, 48)),
        "target_hidden_size": config["hidden_size"],
        "intermediate_size": rng.choice((16, 24, 40, 64)), "num_hidden_layers": 1,
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([k for k in (1, 2, 4, heads)
                                           if heads % k == 0]),
        "head_dim": rng.choice((8, 16)), "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "vocab_size": vocab,
        "draft_vocab_size": rng.choice((vocab, vocab // 2)),
        "fc_norm": rng.random() < 0.5, "norm_output": rng.random() < 0.5,
        "eagle_config": {"eagle_aux_hidden_state_layer_ids": sorted(
            rng.sample(range(layers), rng.randint(1, min(3, layers))))},
    }


DRAWN = {"m2": draw_config, "m1": draw_m1_config}


def draw_topology(rng, config):
    """Any numbers; most draws small, since ranks are threads."""
    size = rng.random()
    tp = (rng.choice((24, 32, 48, 64)) if size < 0.04 else
          rng.choice((12, 16, 16)) if size < 0.16 else rng.randint(1, 8)
          if size < 0.4 else rng.choice((2, 4, 4, 8)))
    divisors = [n for n in range(1, tp + 1) if tp % n == 0]
    topology = {"tp": tp,
                "dp": rng.choice(divisors) if rng.random() < 0.5 else 1,
                "ep": rng.choice(divisors) if rng.random() < 0.6 else 1,
                "pp": 1}
    if rng.random() < 0.06:
        topology[rng.choice(("dp", "ep"))] = rng.randint(2, 9)
    if rng.random() < 0.35:
        topology["pp"] = rng.randint(1, config["num_hidden_layers"] + 1)
    if tp * topology["pp"] > 64:
        topology["pp"] = 1
    return topology


def draw_choices(rng):
    """How ranks meet, usually against the cost model: tiny sizes would always
    get the same. Scattered sums and gathered tokens go together."""
    reduction = rng.choice(("auto", "all_reduce", "deferred", "reduce_scatter",
                            "reduce_scatter"))
    experts = {"auto": ("auto", "masked", "gathered"),
               "reduce_scatter": ("auto", "gathered")}.get(
                   reduction, ("auto", "masked"))
    return ["--reduction", reduction, "--experts", rng.choice(experts),
            "--norm", rng.choice(("auto", "early", "late", "late")),
            "--replica-rows", rng.choice(("auto", "packed", "padded", "padded"))]


def draw_case(rng, config, draft=None):
    """(topology, options of compile, options of run, broken rules)."""
    wanted = rng.random() < 0.75  # legal ones are the dearer half of the test
    for _ in range(20):
        topology = draw_topology(rng, config)
        stages, layers = None, config["num_hidden_layers"]
        if 1 < topology["pp"] <= layers and rng.random() < 0.5:
            cuts = sorted(rng.sample(range(1, layers), topology["pp"] - 1))
            stages = [b - a for a, b in zip([0, *cuts], [*cuts, layers])]
            if rng.random() < 0.1:
                stages[rng.randrange(len(stages))] += 1
        broken = broken_rules(config, topology, stages, draft)
        if wanted == (not broken):
            break
    text = ",".join(f"{k}={v}" for k, v in topology.items()
                    if v != 1 or k == "tp")
    options = ["--topology", text, "--compute-dtype", "f32", "--max-seq-len", 32,
               "--page-size", rng.choice((1, 3, 4, 8, 16)), "--max-batch",
               rng.randint(1, 5), "--prefill-chunk", rng.choice((1, 3, 4, 8, 16)),
               *draw_choices(rng)]
    if stages:
        options += ["--stage-layers", *stages]
    run_options = []
    if rng.random() < 0.3:
        run_options += ["--micro-batches", rng.randint(1, 4)]
    return text, options, run_options, broken


def draw_prompts(rng, vocab):
    return [[rng.randrange(vocab) for _ in range(rng.choice((1, 2, 3, 5, 9, 14)))]
            for _ in range(rng.randint(1, 5))]


#===--- The two tests -----------------------------------------------------===#

class Tally:
    """Counts of a part of the draws; parts are added up."""

    def __init__(self):
        self.draws = self.equal = self.refused = self.drafts = 0
        self.worst, self.largest_world, self.failures = 0.0, 0, []

    def add(self, other):
        self.draws += other.draws
        self.equal += other.equal
        self.refused += other.refused
        self.drafts += other.drafts
        self.worst = max(self.worst, other.worst)
        self.largest_world = max(self.largest_world, other.largest_world)
        self.failures += other.failures

    def summary(self):
        return (f"{self.draws} draws: {self.equal} equal, {self.refused} refused, "
                f"{len(self.failures)} failed; {self.drafts} models with a draft; worst error {self.worst:.1e} of the "
                f"largest logit, largest world {self.largest_world}")


class Bench:
    """One model and batch: tp=1 once, then any number of topologies."""

    def __init__(self, tools, folder, model, weights, prompts, new_tokens):
        self.tools, self.folder, self.model = tools, folder, model
        self.weights, self.prompts, self.new_tokens = weights, prompts, new_tokens
        self.reference = None

    def commands(self, name, options, run_options):
        engine, logits = (self.folder / f"{name}.{e}" for e in ("saddle", "st"))
        return (compile_command(self.tools.compile, self.model, engine, options),
                run_command(self.tools.run, engine, self.weights, self.prompts,
                            self.new_tokens, logits, run_options), logits)

    def outcome(self, name, options, run_options=(), broken=()):
        """None after a right refusal, else (tokens, logits) per prompt."""
        compiling, running, logits = self.commands(name, options, run_options)
        result = execute(compiling)
        while again := without_unfollowed(compiling, result.stderr):
            compiling = again
            result = execute(compiling)
        if broken:
            if result.returncode == 0:
                raise Failure(f"compiled, but breaks a rule on {sorted(broken)}")
            return check_refusal(result, broken)
        if result.returncode:
            raise Failure(f"refused, but is legal: {result.stderr.strip()}")
        result = execute(running)
        if result.returncode:
            raise Failure(f"the run ended with {result.returncode}: "
                          f"{result.stderr.strip()}")
        found = read_result(logits, len(self.prompts))
        check_last_rows(self.tools.run, running[1], self.weights, self.prompts,
                        self.new_tokens, found, run_options)
        return found

    def run_reference(self):
        self.reference = self.outcome("tp1", [
            "--topology", "tp=1", "--compute-dtype", "f32", "--max-seq-len", 32,
            "--max-batch", 1, "--prefill-chunk", 32])

    def check(self, tally, label, name, options, run_options=(), broken=()):
        """One draw; a failure is printed with what reproduces it."""
        tally.draws += 1
        try:
            found = self.outcome(name, options, run_options, broken)
            if found is None:
                tally.refused += 1
                return
            error = compare(self.reference, found)
            if error > TOLERANCE:
                raise Failure(f"logits differ by {error:.1e} of the largest")
            tally.worst = max(tally.worst, error)
            tally.equal += 1
        except Failure as failure:
            lines = [f"FAIL {label}: {failure}"]
            for n, o, r in (("tp1", ["--topology", "tp=1", "--compute-dtype",
                                     "f32", "--max-seq-len", 32], ()),
                            (name, options, run_options)):
                for command in self.commands(n, o, r)[:2]:
                    lines.append("  " + shlex.join(map(str, command)))
            tally.failures.append("\n".join(lines))


def check_config(tools, root, seed, index, count):
    """One random config and batch with `count` topologies."""
    rng = random.Random(f"{seed}:{index}")
    config = DRAWN[tools.family](rng)
    folder = root / f"config{index}"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    bench = Bench(tools, folder, folder / "config.json",
                  f"synthetic:{rng.randrange(1000)}",
                  draw_prompts(rng, config["vocab_size"]), rng.randint(1, 4))
    # A draft in the engine changes no number, over whatever ranks it runs.
    draft, with_draft = None, []
    drafts = random.Random(f"{seed}:{index}:draft")
    if drafts.random() < 0.35:
        draft = draw_draft(drafts, config)
        (folder / "draft.json").write_text(json.dumps(draft))
        with_draft = ["--draft", folder / "draft.json", "--spec-tokens",
                      drafts.randint(1, 5)]
    tally = Tally()
    tally.drafts = draft is not None
    try:
        bench.run_reference()
    except Failure as failure:
        tally.failures.append(f"FAIL seed {seed} config {index} tp=1: {failure}")
        return tally
    for draw in range(count):
        text, options, run_options, broken = draw_case(rng, config, draft)
        options += with_draft
        tally.largest_world = max(tally.largest_world, 0 if broken else world(text))
        bench.check(tally, f"seed {seed} config {index} draw {draw} {text}",
                    f"draw{draw}", options, run_options, broken)
    if not tally.failures:
        shutil.rmtree(folder)
    return tally


def world(text):
    sizes = dict(part.split("=") for part in text.split(","))
    return int(sizes["tp"]) * int(sizes.get("pp", 1))


def check_random(tools, root):
    per_config = 6
    configs = ([tools.only] if tools.only is not None else
               range(-(-tools.draws // per_config)))
    total = Tally()
    with concurrent.futures.ThreadPoolExecutor(tools.jobs) as pool:
        for part in pool.map(lambda i: check_config(tools, root, tools.seed, i,
                                                    per_config), configs):
            total.add(part)
            for failure in part.failures:
                print(failure, flush=True)
    print(f"seed {tools.seed}: {total.summary()}")
    if total.equal < 0.4 * total.draws:
        total.failures.append("")
        print("fewer than 40 % of the draws compared numbers")
    return total


def check_named(tools, root):
    rng = random.Random(tools.seed)
    vocab = json.loads((tools.named / "config.json").read_text())["vocab_size"]
    # Fewer prompts than replicas, so that dp=8 has ranks without tokens.
    prompts = [[rng.randrange(vocab) for _ in range(n)] for n in (11, 1, 6)]
    bench = Bench(tools, root, tools.named, tools.named, prompts, 6)
    bench.run_reference()
    total = Tally()
    for index, text in enumerate(NAMED):
        for rows, norm in ((("packed", "early"), ("padded", "late"))
                           if "dp=" in text else (("auto", "auto"),)):
            part = Tally()
            part.largest_world = world(text)
            bench.check(part, text, f"named{index}{rows}", [
                "--topology", text, "--compute-dtype", "f32", "--max-seq-len", 32,
                "--max-batch", 3, "--prefill-chunk", 4, "--replica-rows", rows,
                "--norm", norm])
            print(f"{text} {rows} rows, {norm} norm: {part.worst:.1e}"
                  if part.equal else part.failures[0], flush=True)
            total.add(part)
    print(total.summary())
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--draws", type=int, default=360)
    parser.add_argument("--family", choices=DRAWN, default="m2")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", type=int, help="one config of the seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--named", type=pathlib.Path, metavar="CHECKPOINT",
                        help="the fixed list on this folder, no draws")
    tools = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="saddle-topologies-"))
    try:
        total = (check_named if tools.named else check_random)(tools, root)
        failed = bool(total.failures)
    except Failure as failure:
        print(f"FAIL: {failure}")
        failed = True
    if failed:
        print(f"files are kept in {root}")
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
