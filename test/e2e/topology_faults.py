"""Deliberate faults of the partitioning, each of which must be caught.

A compilation is stopped behind a phase, its IR is damaged the way a wrong pass
would leave it, and the rest of the compilation goes on. A fault is caught when
the compiler refuses the IR, the runtime refuses the engine or ends the run with
an error, or numbers change: the logits leave those of the undamaged engine by more
than ten times what topologies.py tolerates, or the tokens change. --markdown writes docs/topology-faults.md.

Standard library only.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import re
import shutil
import sys
import tempfile

from saddle_e2e import Failure
from topologies import (TOLERANCE, check_last_rows, compare, compile_command,
                        execute, read_result, run_command)

CAUGHT = 10 * TOLERANCE
PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [95], [50, 41, 30, 22]]
NEW_TOKENS = 3

CONFIG = {
    "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
    "hidden_act": "silu", "dtype": "bfloat16", "hidden_size": 32,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "rotary_dim": 8, "rope_theta": 10000.0,
    "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 32,
    "vocab_size": 96, "tie_word_embeddings": False, "rms_norm_eps": 1e-6,
    "max_position_embeddings": 128,
}
# Three blocks of 64 rows for each expert; heads and hidden over a block border.
FP8 = dict(CONFIG, hidden_size=160, num_attention_heads=16, intermediate_size=192,
           quantization_config={
               "quant_method": "fp8", "fmt": "float8_e4m3fn",
               "activation_scheme": "dynamic", "weight_block_size": [128, 128],
               "modules_to_not_convert": ["gate", "e_score_correction_bias",
                                          "lm_head"]})
# Linear, full and linear attention.
M1 = dict(CONFIG, architectures=["MiniMaxM1ForCausalLM"], model_type="minimax_m1",
          attn_type_list=[0, 1, 0], postnorm=True,
          layernorm_linear_attention_alpha=1.5, layernorm_linear_attention_beta=1.2,
          layernorm_full_attention_alpha=2.5, layernorm_mlp_alpha=2.0)

# So many experts that some choice hangs on a router's small bias.
MANY = dict(CONFIG, num_local_experts=64, num_experts_per_tok=8)

# name -> (config, topology). tp has replicated KV heads, dep attention replicas
# and expert groups.
BASES = {"tp": (CONFIG, "tp=4"), "dep": (CONFIG, "tp=4,dp=2,ep=2"),
         "pp": (CONFIG, "tp=2,pp=2"), "fp8": (FP8, "tp=4"),
         "many": (MANY, "tp=4"), "m1": (M1, "tp=4")}


@dataclasses.dataclass
class Fault:
    title: str
    base: str
    phase: str
    damage: object  # text -> text
    caught: str = ""


#===--- Kinds of damage ---------------------------------------------------===#

def replace(pattern, new):
    """All matches; a pattern without any is an error of this script."""
    def damage(text):
        out, count = re.subn(pattern, new, text)
        if not count or out == text:
            raise Failure(f"no match of {pattern}")
        return out
    return damage


def bypass(before, op):
    """Drops the op right behind a line with `before`; its users get its operand."""
    return rewire(rf"({before}[^\n]*\n)\s+(%\d+) = {op} (%\d+)[^\n]*\n",
                  lambda m: (m[1], m[2], m[3]))


def rewire(pattern, change):
    """change(match) -> (new text, value, value that replaces it) per function."""
    def damage(text):
        out, count = [], 0
        for function in re.split(r"(?=\n  func\.func )", text):
            while match := re.search(pattern, function):
                new, old, value = change(match)
                rest = re.sub(rf"{old}(?![\w])", value, function[match.end():])
                function = function[:match.start()] + new + rest
                count += 1
            out.append(function)
        if not count:
            raise Failure(f"no match of {pattern}")
        return "".join(out)
    return damage


def swap_layers(weights, separator, functions):
    """Layers 1 and 2, in the functions only."""
    return weights + separator + re.sub(
        r"layers\.([12])\.", lambda m: f"layers.{3 - int(m[1])}.", functions)


def overlap(place):
    """The result of the add at `place` is put on top of the op before it reads:
    the residual, which is alive, moves onto the reduction's result."""
    def damage(text):
        count = 0
        for match in reversed(list(re.finditer(
                rf"engine\.launch @add_0\((%\d+), (%\d+)\)[^\n]*{place}", text))):
            def offset(value):
                found = list(re.finditer(rf"{value} = engine\.buffer in "
                                         r"@activations at (\d+)",
                                         text[:match.start()]))
                return found[-1]
            residual, reduced = offset(match[1]), offset(match[2])
            begin, end = residual.span(1)
            text = text[:begin] + reduced[1] + text[end:]
            count += 1
        if not count:
            raise Failure(f"no add at {place}")
        return text
    return damage


O_PROJ = r"model\.linear %\d+, @layers\.\d+\.o_proj\.shard "
EXPERTS = r"= model\.experts "
REDUCE = r"dist\.all_reduce"
RANK = r"\(rank div 1 mod 4\)"

FAULTS = [
    # Reductions.
    Fault("all_reduce behind o_proj missing", "tp", "dist", bypass(O_PROJ, REDUCE)),
    Fault("all_reduce behind the experts missing", "tp", "dist",
          bypass(EXPERTS, REDUCE)),
    Fault("all_reduce behind the embedding missing", "tp", "dist",
          bypass(r"model\.embedding", REDUCE)),
    Fault("QK norm per rank: its all_reduce missing", "tp", "dist",
          bypass(r"model\.sum_of_squares", REDUCE)),
    Fault("all_reduce behind the experts' reduce_scatter missing", "dep", "dist",
          bypass(r"dist\.reduce_scatter", REDUCE)),
    Fault("reduction behind o_proj over half of the group", "tp", "dist",
          replace(rf'({O_PROJ}[^\n]*\n[^\n]*over <@mesh, \["tp")\]', r"\1:(1)2]")),
    Fault("reduction behind o_proj over the other axis", "dep", "dist",
          replace(rf'({O_PROJ}[^\n]*\n[^\n]*over <@mesh, \["tp":)\(2\)2', r"\1(1)2")),
    Fault("QK norm's sum over the other axis", "dep", "engine",
          replace(r"(all_reduce_sum[^\n]*)@groups\.attention([^\n]*qk_norm)",
                  r"\1@groups.replicas\2")),
    Fault("experts' sum taken twice", "tp", "dist",
          replace(rf"({EXPERTS}[^\n]*\n\s+)%(\d+) = {REDUCE} (%\d+)([^\n]*\n)",
                  r"\1%9\2 = dist.all_reduce \3\4    %\2 = dist.all_reduce %9\2\4")),
    Fault("group table deals ranks to the wrong groups", "dep", "engine",
          replace(r"ranks \[0, 2, 1, 3\]", "ranks [0, 1, 2, 3]")),
    Fault("a rank is in two groups", "dep", "engine",
          replace(r"ranks \[0, 2, 1, 3\]", "ranks [0, 2, 2, 3]")),
    # QK norm.
    Fault("divisor of the K norm without the KV replicas", "tp", "dist",
          replace(r"(k_norm\.shard divisor )64", r"\g<1>32")),
    Fault("K norm reads the column of Q's sum", "tp", "dist",
          replace(r"(rms_scale [^\n]*)\[1\]([^\n]*k_norm)", r"\1[0]\2")),
    Fault("slice of k_norm by rank instead of by head", "tp", "dist",
          replace(r'(k_norm\.shard of [^\n]*"tp":)\(1\)2', r"\1(2)2")),
    # Shares of weights.
    Fault("KV projections by rank instead of by head", "tp", "dist",
          replace(r'("tp", _\]>, #dist\.sharding<@mesh, \["tp":)\(1\)2(, _\]>, '
                  r'#dist\.sharding<@mesh, \["tp":)\(1\)2', r"\1(2)2\2(2)2")),
    Fault("w1 and w3 change places", "tp", "dist",
          replace(r"of \[(@layers\.\d\.w1), (@layers\.\d\.w3)\]", r"of [\2, \1]")),
    Fault("K and V change places in the fused projection", "tp", "dist",
          replace(r"(@layers\.\d\.k_proj), (@layers\.\d\.v_proj)\]", r"\2, \1]")),
    Fault("K's rows stand one head too early in the fused projection", "tp",
          "engine", replace(r"(source = @layers\.\d\.k_proj,[^>]*>[^>]*>[^>]*>[^>]*"
                            r"dest_row = )16", r"\g<1>0")),
    Fault("columns of o_proj of the next rank", "tp", "engine",
          replace(r"(source = @layers\.\d\.o_proj, [^\n]*col = <)0( \+ )\(rank div 1 "
                  r"mod 4\)", r"\g<1>0\2(rank div 2 mod 2)")),
    Fault("experts dealt by the wrong factor, weights only", "dep", "dist",
          replace(r'\["tp":\(1\)2, _, "tp":\(2\)2\]', '["tp":(2)2, _, "tp":(1)2]')),
    Fault("expert_start by the wrong factor", "dep", "dist",
          replace(r"(expert_start = #dist\.rank_value<0 \+ \(rank div )2", r"\g<1>1")),
    Fault("expert_start one too high", "dep", "dist",
          replace(r"(expert_start = #dist\.rank_value<)0", r"\g<1>1")),
    Fault("step of vocab_start doubled", "tp", "dist",
          replace(rf"(vocab_start = #dist\.rank_value<0 \+ {RANK} \* )24", r"\g<1>48")),
    Fault("lm_head's rows by the wrong factor", "dep", "dist",
          replace(r'(@lm_head\.shard of [^\n]*\[")tp"', r'\1tp":(2)2')),
    Fault("router bias of another layer", "many", "dist",
          replace(r"(model\.router [^\n]*@layers\.)0(\.router_bias\.shard)", r"\g<1>1\2")),
    Fault("norm weights of attention and experts change places", "tp", "dist",
          replace(r"(model\.rms_norm %\d+, @layers\.\d\.)(input|post_attention)_norm",
                  lambda m: m[1] + ("input" if m[2] != "input" else "post_attention")
                  + "_norm")),
    # FP8 scales.
    Fault("rows of a scale block of w1 and w3 doubled", "fp8", "engine",
          replace(r"(\"experts\" \{[^\n]*storage = \[#model.storage<scale f32 \[)16",
                  r"\g<1>32")),
    Fault("columns of a scale block of o_proj halved", "fp8", "engine",
          replace(r"(\"linear\" \{[^\n]*<scale f32 \[\d+, )64", r"\g<1>32")),
    Fault("scales of w2 of rank 0 on all ranks", "fp8", "engine",
          replace(r"(source = @layers\.\d\.w2\.scale, [^\n]*col = <0 \+ \(rank div 1 "
                  r"mod )4(\) \* )48", r"\g<1>1\g<2>0")),
    Fault("scales of w1 and w3 at whole blocks of 128 rows", "fp8", "dist",
          replace(r"(concat 1 stored <scale f32 \[)16", r"\g<1>96")),
    # Residual, stages, caches.
    Fault("residual behind attention is the reduction itself", "tp", "dist",
          replace(rf"({O_PROJ}[^\n]*\n[^\n]*\n[^\n]*model\.add )%\d+, (%\d+)",
                  r"\1\2, \2")),
    Fault("residual added twice", "tp", "dist",
          replace(rf"({O_PROJ}[^\n]*\n[^\n]*\n[^\n]*model\.add )(%\d+), %\d+",
                  r"\1\2, \2")),
    Fault("residual and normed rows change places in a fused group", "tp", "kernel",
          replace(r"(model\.add [^\n]*\n[^\n]*post_attention_norm[^\n]*\n\s+"
                  r"kernel\.yield )(%\d+), (%\d+)", r"\1\3, \2")),
    Fault("boundary sends the rows before the last layer's experts", "pp", "dist",
          replace(r"(= model\.add )(%\d+)(, %\d+[^\n]*\n\s+dist\.send )%\d+",
                  r"\1\2\3\2")),
    Fault("second stage runs the last layer of the first", "pp", "dist",
          replace(r"(?s)\.stage_1\(.*?\n  \}",
                  lambda m: m[0].replace("layers.2.", "layers.1."))),
    Fault("layers of the two stages change places", "pp", "dist",
          lambda text: swap_layers(*text.partition("  func.func"))),
    Fault("receive of half the width", "pp", "dist",
          replace(r"(dist\.receive : tensor<\d+x)32", r"\g<1>16")),
    Fault("stage does not send", "pp", "engine",
          replace(r"\n\s+engine\.transfer  send [^\n]*", "")),
    Fault("stage does not receive", "pp", "engine",
          replace(r"\n\s+engine\.transfer  receive [^\n]*", "")),
    Fault("attention reads the KV cache of another layer", "tp", "dist",
          replace(r"(model\.attention %\d+, @layers\.)1", r"\g<1>0")),
    Fault("rotary_dim of K is head_dim", "tp", "dist",
          replace(r"(rope [^\n]*rotary_dim )8([^\n]*x16xf32)", r"\g<1>16\2")),
    Fault("V is read at K's columns", "tp", "engine",
          replace(r"(engine\.view %\d+ column )32", r"\g<1>16")),
    # Rows and layouts.
    Fault("replicas' rows: gathered packed, scattered padded", "dep", "dist",
          replace(r"(dist\.reduce_scatter [^\n]*rows  )packed", r"\1padded")),
    Fault("replicas' rows: gathered padded, scattered packed", "dep", "engine",
          replace(r"(all_gather [^\n]*becoming  all_tokens rows  )packed", r"\1padded")),
    Fault("reduce_scatter becomes all_reduce", "dep", "engine",
          replace("reduce_scatter_sum", "all_reduce_sum")),
    Fault("gather of the logits missing", "tp", "dist",
          bypass(r"@lm_head\.shard :", r"dist\.all_gather")),
    Fault("logits gathered along rows", "tp", "dist",
          replace(r"(all_gather %\d+ dim )1", r"\g<1>0")),
    Fault("experts see the own tokens only, not all", "dep", "engine",
          replace(r'all_tokens( at "layers\.\d+\.experts" :)', r"tokens\1")),
    Fault("o_proj computes as many rows as there are logits", "tp", "engine",
          replace(r'tokens( at "layers\.\d+\.o_proj")', r"rows\1")),
    Fault("gather does not say that rows become everybody's", "dep", "engine",
          replace(r"tokens becoming  all_tokens", "tokens")),
    # Linear attention.
    Fault("decays of the first heads on all ranks", "m1", "dist",
          replace(r"(head_start = #dist\.rank_value<0 \+ \(rank div 1 mod )4",
                  r"\g<1>1")),
    Fault("decays as if a rank's heads were all", "m1", "dist",
          replace(r"(decay_scan [^\n]* heads )4", r"\g<1>1")),
    Fault("norm behind the scan per rank: its all_reduce missing", "m1", "dist",
          bypass(r"model\.sum_of_squares", REDUCE)),
    Fault("all_reduce behind out_proj missing", "m1", "dist",
          bypass(r"@layers\.\d\.out_proj\.shard ", REDUCE)),
    Fault("scan reads the state of another layer", "m1", "dist",
          replace(r"(decay_scan %\d+, @layers\.)2", r"\g<1>0")),
    Fault("a head's q, k and v taken for thirds of all rows", "m1", "engine",
          replace(r"(source = @layers\.\d\.qkv_proj, [^\n]*?row = <0 \+ "
                  r"\(rank div 1 mod 4\) \* )48", r"\g<1>16")),
    Fault("residual behind attention is not the normed input", "m1", "dist",
          replace(r"(?s)(%\d+)( = model\.rms_norm )(%\d+)(, @layers\.1\.input_norm"
                  r"[^@]*@(?:(?!scaled_add).)*model\.scaled_add )\1,", r"\1\2\3\4\3,")),
    Fault("residual's factors change places", "m1", "dist",
          replace(r"alpha (\S+) beta (\S+) :", r"alpha \2 beta \1 :")),
    Fault("two layers share a state", "m1", "engine",
          replace(r"(engine\.state @layers\.2\.recurrent\.state kind  sequence in "
                  r"@sequences at )\d+", r"\g<1>0")),
    # Memory plan.
    Fault("the residual shares memory with a reduction's result", "tp", "engine",
          overlap("attention_residual")),
    Fault("two layers share a KV cache", "tp", "engine",
          replace(r"(engine\.state @layers\.)(1)(\.kv\.k kind  paged in @kv at )\d+", r"\1\2\g<3>0")),
    Fault("arena one page too small", "tp", "engine",
          replace(r"(engine\.arena @activations  transient bytes )\d+", r"\g<1>1024")),
]


#===--- Running -----------------------------------------------------------===#

class Base:
    """A config and topology: its IR by phase, and the undamaged logits."""

    def __init__(self, tools, root, name):
        self.tools, self.folder = tools, root / name
        self.folder.mkdir()
        config, topology = BASES[name]
        self.config = self.folder / "config.json"
        self.config.write_text(json.dumps(config))
        self.options = ["--topology", topology, "--compute-dtype", "f32",
                        "--max-seq-len", 16, "--page-size", 4, "--max-batch", 2,
                        "--buckets", 1, 2, "--prefill-chunk", 4]
        self.ir = {}
        for phase in ("dist", "kernel", "engine"):
            result = execute(compile_command(tools.compile, self.config,
                                             self.folder / f"{phase}.mlir",
                                             [*self.options, "--compile-to", phase]))
            if result.returncode:
                raise Failure(result.stderr)
            self.ir[phase] = (self.folder / f"{phase}.mlir").read_text()
        self.reference = None
        for phase in self.ir:
            caught, logits = self.go_on("whole-" + phase, phase, self.ir[phase])
            if caught:
                raise Failure(f"{name}, undamaged {phase} IR: {caught}")
            self.reference = self.reference or logits
            if compare(self.reference, logits) > 0:
                raise Failure(f"{name}: going on from {phase} changes logits")

    def go_on(self, name, phase, text):
        """(what caught it, None) or (None, logits)."""
        source, engine, logits = (self.folder / f"{name}{e}"
                                  for e in (".mlir", ".saddle", ".st"))
        source.write_text(text)
        result = execute(compile_command(self.tools.compile, source, engine,
                                         ["--compile-from", phase]))
        if result.returncode:
            return "compiler: " + message(result), None
        result = execute(run_command(self.tools.run, engine, "synthetic:7", PROMPTS,
                                     NEW_TOKENS, logits))
        if result.returncode:
            return "runtime: " + message(result), None
        found = read_result(logits, len(PROMPTS))
        try:
            check_last_rows(self.tools.run, engine, "synthetic:7", PROMPTS,
                            NEW_TOKENS, found)
        except Failure as failure:
            return f"parity: {failure}", None
        return None, found


def message(result):
    """First error line, without the names of files."""
    lines = [line for line in result.stderr.splitlines() if "error: " in line]
    text = lines[0].split("error: ", 1)[1] if lines else result.stderr.strip()
    return re.sub(r"\S*/", "", text)


def difference(reference, found):
    """compare(), where other tokens are a difference and no error."""
    try:
        error = compare(reference, found)
    except Failure as failure:
        return f"parity: {failure}"
    return f"parity: logits off by {error:.1e} of the largest" \
        if error > CAUGHT else None


def check(fault, base, index):
    caught, logits = base.go_on(f"fault{index + 1}", fault.phase,
                                fault.damage(base.ir[fault.phase]))
    fault.caught = caught or difference(base.reference, logits)
    return fault


def markdown(faults):
    rows = "\n".join(f"| {i} | {f.title} | `{BASES[f.base][1]}`"
                     f"{dict(fp8=' FP8', m1=' M1').get(f.base, '')} | {f.phase} | "
                     f"{(f.caught or 'NOTHING').replace('|', chr(92) + '|')} |"
                     for i, f in enumerate(faults, 1))
    caught = sum(bool(f.caught) for f in faults)
    return f"""# Faults that the tests catch

A wrong partitioning often computes something plausible. This table shows that the checks see it.
Each row is one fault: the IR behind a phase is damaged the way a wrong pass would leave it, and the compilation goes on.
*compiler* and *runtime* mean that a verifier, the engine's validator or the run itself refused. *parity* means that the
numbers changed: the logits left those of the undamaged engine by more than {CAUGHT:g} of the largest logit
(`test/e2e/topologies.py` fails at {TOLERANCE:g}), or a token that is no near tie changed.

The test `e2e.topologies.faults` runs all of them and fails when one is not caught. This page is its output:

```
python3 test/e2e/topology_faults.py --compile build/bin/saddle-compile --run build/bin/saddle-run --markdown docs/topology-faults.md
```

{caught} of {len(faults)} are caught.

| | Fault | Topology | Behind phase | Caught by |
|---|---|---|---|---|
{rows}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table here")
    tools = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="saddle-faults-"))
    bases = {name: Base(tools, root, name) for name in BASES}

    def attempt(item):
        index, fault = item
        try:
            return check(fault, bases[fault.base], index), None
        except Failure as failure:
            return fault, str(failure)

    failed = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for index, (fault, error) in enumerate(pool.map(attempt,
                                                        enumerate(FAULTS))):
            bad = error or not fault.caught
            failed += [fault] if bad else []
            print(f"{'FAIL' if bad else 'ok':4} {index + 1:2} {fault.base:3} "
                  f"{fault.phase:6} {fault.title}\n        "
                  f"{error or fault.caught or 'NOT CAUGHT'}", flush=True)
    print(f"{len(FAULTS) - len(failed)} of {len(FAULTS)} faults caught")
    if tools.markdown:
        tools.markdown.write_text(markdown(FAULTS))
    if failed:
        print(f"files are kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
