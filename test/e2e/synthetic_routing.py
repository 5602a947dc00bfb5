"""Synthetic weights route tokens as trained ones do: apart.

A model of eight layers with 256 experts, of which each token chooses 8. 64 tokens
that choose independently hit 256 * (1 - (1 - 8/256)^64) = 222 of them, give or
take 5. saddle-bench counts how many its tokens hit, in every layer: 64 sequences
in decode, and chunks of 64 tokens of one prompt.
"""

import argparse
import json
import pathlib
import sys
import tempfile

from saddle_e2e import Failure, call

LAYERS, EXPERTS, CHOSEN, TOKENS, CHUNKS = 8, 256, 8, 64, 3
LEAST, MOST = 200, 240
CONFIG = {
    "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
    "hidden_size": 256, "intermediate_size": 32, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
    "num_local_experts": EXPERTS, "num_experts_per_tok": CHOSEN,
    "vocab_size": 2048, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "tie_word_embeddings": False, "eos_token_id": 1,
    "dtype": "bfloat16",
    "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000.0,
                        "rope_type": "default"},
}


def check(what, found, launches):
    """found: a measurement of saddle-bench."""
    row, = [op for op in found["ops"] if "experts" in op]
    spread = found["routing"]
    hit = spread["hit"]
    print(f"{what}: {hit['mean']:.1f} experts ({hit['min']} to {hit['max']}) of "
          f"{row['launches']} launches, {spread['independent']:.1f} if independent")
    independent = EXPERTS * (1 - (1 - CHOSEN / EXPERTS) ** TOKENS)
    if row["launches"] != launches or spread["held"] != EXPERTS:
        raise Failure(f"{what}: expected {launches} launches of {EXPERTS} experts")
    if abs(spread["independent"] - independent) > 1e-6:
        raise Failure(f"{what}: expected {independent} if independent")
    if hit["min"] < LEAST or hit["max"] > MOST:
        raise Failure(f"{what}: expected {LEAST} to {MOST} experts in every layer")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", type=pathlib.Path, required=True)
    parser.add_argument("--run", type=pathlib.Path, help="unused; all tests have it")
    parser.add_argument("--bench", type=pathlib.Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        engine = folder / "wide.saddle"
        call([args.compile, folder / "config.json", "--max-batch", TOKENS,
              "--buckets", TOKENS, "--prefill-chunk", TOKENS, "--max-seq-len", 256,
              "-o", engine])
        try:
            for seed in (1, 7):
                result = json.loads(call(
                    [args.bench, engine, "--weights", f"synthetic:{seed}", "--batch",
                     TOKENS, "--context", 4, "--steps", 1, "--prefill",
                     CHUNKS * TOKENS, "--json"]))
                check(f"seed {seed}, decode", result["decode"][0], LAYERS)
                check(f"seed {seed}, prefill", result["prefill"][0], CHUNKS * LAYERS)
        except Failure as failure:
            sys.exit(str(failure))


if __name__ == "__main__":
    main()
