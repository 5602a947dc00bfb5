"""Distinct digits: a checkpoint made so that every rank's share of a sum is a
different digit of the answer. A contribution that is dropped, doubled or swapped
shows as a wrong digit and cannot cancel against another.

The embedding is all ones, so the first norm is ones and v is ones; attention then
passes ones whatever the weights of the scores are. Head h writes 4^h into hidden
value 0 through o_proj. Every expert is chosen with weight 1/4; unit group s of its
width writes 4^s into value 1, and expert e writes 8^e into value 2. Value 3 stays 1,
so the logits of words 0, 1, 2 over that of word 3 are those sums plus one.
"""

import argparse
import array
import json
import math
import pathlib
import subprocess
import sys
import tempfile

from saddle_e2e import Tensor, call_following, read_tensors, write_tensors

HIDDEN, HEADS, HEAD_DIM, EXPERTS, WIDTH, VOCAB, LAYERS = 16, 8, 4, 4, 32, 16, 2
SHARES = 8  # of the expert width
TOPOLOGIES = ["tp=1", "tp=2", "tp=4", "tp=8", "tp=8,ep=2", "tp=8,ep=4",
              "tp=2,dp=2", "tp=4,dp=2", "tp=8,dp=8,ep=4", "tp=8,dp=2,ep=2",
              "tp=16,ep=4", "tp=4,pp=2", "tp=4,dp=2,ep=4,pp=2"]
OPTIONS = [[], ["--reduction", "reduce_scatter"], ["--replica-rows", "padded"],
           ["--norm", "late", "--reduction", "reduce_scatter"],
           ["--reduction", "all_reduce"]]

CONFIG = {
    "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
    "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": 2,
    "head_dim": HEAD_DIM, "rotary_dim": 2, "rope_theta": 10000.0,
    "num_local_experts": EXPERTS, "num_experts_per_tok": EXPERTS,
    "intermediate_size": WIDTH, "vocab_size": VOCAB, "rms_norm_eps": 1e-12,
    "max_position_embeddings": 64, "hidden_act": "silu",
    "scoring_func": "sigmoid", "use_routing_bias": True, "use_qk_norm": True,
    "qk_norm_type": "per_layer", "tie_word_embeddings": False,
    "torch_dtype": "float32", "eos_token_id": None,
}


def matrix(rows, columns, value):
    return Tensor([rows, columns],
                  array.array("f", (value(i, j) for i in range(rows)
                                    for j in range(columns))))


def ones(size):
    return Tensor([size], array.array("f", [1.0] * size))


def checkpoint():
    """Tensors and the three sums that the first layer leaves."""
    heads = sum(4 ** h for h in range(HEADS))
    shares = sum(4 ** s for s in range(SHARES))
    experts = sum(8 ** e for e in range(EXPERTS))
    # Behind attention value 0 is 1 + heads, the others are 1.
    rms = math.sqrt(((1 + heads) ** 2 + HIDDEN - 1) / HIDDEN)
    unit = 1 / (1 + math.exp(-1))  # silu(1) * 1
    tensors = {
        "model.embed_tokens.weight": matrix(VOCAB, HIDDEN, lambda i, j: 1.0),
        "model.norm.weight": ones(HIDDEN),
        "lm_head.weight": matrix(VOCAB, HIDDEN,
                                 lambda i, j: float(i == j and i < 4)),
    }
    for layer in range(LAYERS):
        live = float(layer == 0)
        p = f"model.layers.{layer}."
        tensors[p + "input_layernorm.weight"] = ones(HIDDEN)
        tensors[p + "post_attention_layernorm.weight"] = ones(HIDDEN)
        a = p + "self_attn."
        mean = lambda i, j: 1.0 / HIDDEN
        tensors[a + "q_proj.weight"] = matrix(HEADS * HEAD_DIM, HIDDEN, mean)
        tensors[a + "k_proj.weight"] = matrix(2 * HEAD_DIM, HIDDEN, mean)
        tensors[a + "v_proj.weight"] = matrix(2 * HEAD_DIM, HIDDEN, mean)
        tensors[a + "q_norm.weight"] = ones(HEADS * HEAD_DIM)
        tensors[a + "k_norm.weight"] = ones(2 * HEAD_DIM)
        tensors[a + "o_proj.weight"] = matrix(
            HIDDEN, HEADS * HEAD_DIM, lambda i, j: live * 4.0 ** (j // HEAD_DIM)
            if i == 0 and j % HEAD_DIM == 0 else 0.0)
        m = p + "block_sparse_moe."
        tensors[m + "gate.weight"] = matrix(EXPERTS, HIDDEN,
                                            lambda i, j: 0.0)
        tensors[m + "e_score_correction_bias"] = ones(EXPERTS)
        for e in range(EXPERTS):
            pick = lambda i, j: rms if j == 3 else 0.0
            tensors[m + f"experts.{e}.w1.weight"] = matrix(WIDTH, HIDDEN, pick)
            tensors[m + f"experts.{e}.w3.weight"] = matrix(WIDTH, HIDDEN, pick)

            def down(i, j, e=e):
                share, first = divmod(j, WIDTH // SHARES)
                if first != 0:
                    return 0.0
                if i == 1:
                    return live * 4.0 ** share / unit
                if i == 2 and share == 0:
                    return live * EXPERTS * 8.0 ** e / unit
                return 0.0

            tensors[m + f"experts.{e}.w2.weight"] = matrix(HIDDEN, WIDTH, down)
    return tensors, [heads, shares, experts]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", required=True)
    parser.add_argument("--run", required=True)
    tools = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tensors, sums = checkpoint()
        write_tensors(folder / "model.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        for topology in TOPOLOGIES:
            for options in OPTIONS:
                engine, out = folder / "e.saddle", folder / "out.safetensors"
                call_following([tools.compile, folder, "--topology", topology,
                                "--compute-dtype", "f32", "--max-seq-len", 32,
                                "--prefill-chunk", 16, "-o", engine, *options])
                run(tools.run, engine, "--weights", folder, "--tokens",
                    "3,9,15,0,7", "--max-new-tokens", 2, "--logits-out", out)
                logits = read_tensors(out)["logits"]
                for position in range(logits.shape[0]):
                    row = logits.row(position)
                    found = [row[i] / row[3] - 1 for i in range(3)]
                    # Half a unit of the lowest digit.
                    if any(abs(f - s) > 0.5 for f, s in zip(found, sums)):
                        failed += 1
                        print(f"FAIL {topology} {' '.join(options)} position "
                              f"{position}: expected {sums}, got {found}")
    print(f"{len(TOPOLOGIES) * len(OPTIONS)} runs, {failed} wrong rows; the "
          f"digits are {sums}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
