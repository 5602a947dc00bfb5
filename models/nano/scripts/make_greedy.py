#!/usr/bin/env python3
"""Writes greedy.json: what transformers says to a few prompts, greedily, in fp32.

Refuses a prompt whose path is not robust: the best token must lead by GAP of the
largest |logit| and the last chosen expert by MARGIN, at every step. Also records
whether bf16 compute, and for FP8 activation quantisation, give the same tokens.

usage: make_greedy.py NANO_DIR
"""

import argparse
import datetime
import json
import pathlib

import tokenizers
import torch
import transformers

import make_text
import oracle

COUNT = 48
GAP = 3e-3
MARGIN = 1e-4
USER = f"{make_text.BOS}{make_text.ROLE}user\n"
REPLY = f"{make_text.EOS}\n{make_text.ROLE}ai\n"
PROMPTS = [
    "One day Mia the baker", "Once upon a time there was a sailor",
    "Monday, Tuesday,", "How to make tea", "In the morning Ruth",
    "The planets are", "Lily has 5 apples.", "Let us count to twelve:",
    f"{USER}What is the capital of Italy?{REPLY}", f"{USER}Who is Omar?{REPLY}",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nano", type=pathlib.Path)
    args = parser.parse_args()
    out = {"made_by": "make_greedy.py", "date": str(datetime.date.today()),
           "torch": torch.__version__, "transformers": transformers.__version__,
           "max_new_tokens": COUNT, "variants": {}}
    for variant in ("bf16", "fp8"):
        folder = args.nano / variant
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        stop = tokenizer.token_to_id(make_text.EOS)
        model = oracle.load(folder)
        others = {"bf16": oracle.load(folder, bf16=True)}
        if variant == "fp8":
            others["bf16_act_quant"] = oracle.load(folder, bf16=True, act_quant=True)
        rows = []
        for prompt in PROMPTS:
            ids = tokenizer.encode(prompt, add_special_tokens=False).ids
            path = oracle.greedy(model, [ids], COUNT, stop)
            values = oracle.logits(model, path)
            assert values[0, len(ids) - 1:-1].argmax(-1).tolist() == \
                path[0, len(ids):].tolist(), "cached and full decode differ"
            gap = float(oracle.gaps(values, path, len(ids)))
            margin = float(oracle.routing_margin(model, path))
            if gap < GAP or margin < MARGIN:
                raise SystemExit(f"{variant} {prompt!r}: gap {gap:.2g}, "
                                 f"routing margin {margin:.2g}: choose another")
            tokens = path[0].tolist()
            row = {"prompt": prompt, "prompt_ids": ids,
                   "new_ids": tokens[len(ids):],
                   "text": tokenizer.decode(tokens[len(ids):]),
                   "stopped": tokens[-1] == stop, "gap": round(gap, 5),
                   "routing_margin": round(margin, 6)}
            for name, other in others.items():
                row["same_in_" + name] = oracle.greedy(
                    other, [ids], COUNT, stop)[0].tolist() == tokens
            rows.append(row)
            print(variant, f"gap {gap:.4f} margin {margin:.5f}",
                  {k: v for k, v in row.items() if k.startswith("same")},
                  repr(prompt + row["text"]))
        out["variants"][variant] = rows
    text = json.dumps(out, indent=1)
    (args.nano / "greedy.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
