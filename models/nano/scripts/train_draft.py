#!/usr/bin/env python3
"""Trains the nano model's EAGLE3 draft on the CPU, on text that the model generates.

Prompts are beginnings of generated texts (make_text.py); the model continues them with
saddle-run, by sampling for variety and greedily. The draft learns the model's next-token distribution `--depth`
tokens deep: its own outputs take the place of features, as they do when it drafts
("training-time test" of EAGLE3). A row at depth s for base position p attends to the
rows at depth 0 of positions up to p and to its own predecessors.

The draft has tables of its own, half as wide as the model's, and proposes the tokens that
the texts have most of: what it costs is what it must save.

usage: train_draft.py --prompts N > prompts.txt
       saddle-run nano.saddle --weights bf16 --prompts-file prompts.txt --ignore-eos
           --temperature 1 --max-new-tokens 160 --json > sampled.json; likewise without
           --temperature > greedy.json
       train_draft.py --model bf16 --texts sampled.json greedy.json --out draft [--steps N]
"""

import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from transformers.models.minimax_m2 import modeling_minimax_m2 as m2

import eagle3
import make_text
import oracle
import train

LENGTH = 160  # tokens of a text

CONFIG = {
    "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama",
    "dtype": "bfloat16", "hidden_size": 64, "target_hidden_size": 128,
    "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 512,
    "vocab_size": 768, "draft_vocab_size": 448, "tie_word_embeddings": False,
    "fc_norm": True, "norm_output": True,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3]},
}


def prompts(count):
    """Beginnings of texts, a line each."""
    for text in make_text.documents(count, seed=5):
        words = text.splitlines()[0].split(" ")[:4]
        print(" ".join(words))


def read_texts(paths):
    """[B, LENGTH] token ids from saddle-run --json, those of all files in turn."""
    files = [json.loads(pathlib.Path(path).read_text())["prompts"] for path in paths]
    rows = [(each["prompt_tokens"] + each["tokens"])[:LENGTH]
            for texts in zip(*files) for each in texts]
    return torch.tensor([row for row in rows if len(row) == LENGTH])


@torch.no_grad()
def hidden_states(model, ids):
    """What enters the tapped layers and the logits, in bf16, of all texts."""
    layers = CONFIG["eagle_config"]["eagle_aux_hidden_state_layer_ids"]
    states, logits = [[] for _ in layers], []
    for part in ids.split(32):
        out = model(part, use_cache=False, output_hidden_states=True)
        logits.append(out.logits.bfloat16())
        for kept, layer in zip(states, layers):
            kept.append(out.hidden_states[layer].bfloat16())
    return [torch.cat(kept) for kept in states], torch.cat(logits)


def most_frequent(ids):
    """The tokens that the draft proposes, ascending."""
    counts = torch.bincount(ids.flatten(), minlength=CONFIG["vocab_size"])
    return counts.topk(CONFIG["draft_vocab_size"]).indices.sort().values


def chain(draft, tokens, taps, depth):
    """Logits [B, T - depth, draft V] at each depth; row p of depth s is of position p + s and
    predicts the token at p + s + 2."""
    length = tokens.shape[1] - 1 - depth
    g = draft.features([tap[:, :length] for tap in taps])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    first_k = first_v = None
    later, results = [], []
    for step in range(depth):
        positions = torch.arange(length) + step
        q, k, v, residual = draft.project(tokens[:, 1 + step:1 + step + length], g,
                                          positions)
        if step == 0:
            first_k, first_v = k, v
        else:
            later.append((k, v))
        scale = draft.dim ** -0.5
        scores = torch.einsum("bqhd,bkhd->bhqk", q, first_k) * scale
        scores = scores.masked_fill(~causal, -torch.inf)
        own = [torch.einsum("bqhd,bqhd->bhq", q, key)[..., None] * scale
               for key, _ in later]
        weights = torch.cat([scores, *own], -1).softmax(-1)
        attended = torch.einsum("bhqk,bkhd->bqhd", weights[..., :length], first_v)
        for i, (_, value) in enumerate(later):
            attended = attended + (weights[..., length + i].transpose(1, 2)[..., None]
                                   * value)
        output, g = draft.finish(attended, residual)
        results.append(draft.logits(output))
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, help="print so many, and end")
    parser.add_argument("--model", default="bf16")
    parser.add_argument("--texts", nargs="+")
    parser.add_argument("--out")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.prompts:
        return prompts(args.prompts)
    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    model = oracle.load(args.model)
    m2.MiniMaxM2SparseMoeBlock.forward = train.dense_moe  # the same values, faster

    start = time.time()
    ids = read_texts(args.texts)
    print(f"{len(ids)} texts of {LENGTH} tokens", flush=True)
    states, targets = hidden_states(model, ids)
    held_out = len(ids) // 16

    draft = eagle3.Eagle3({**CONFIG, "own_tables": True}, None, None)
    known = most_frequent(ids)
    draft.d2t.copy_(known - torch.arange(len(known)))
    for p in draft.parameters():
        if p.dim() == 2:
            torch.nn.init.normal_(p, std=p.shape[-1] ** -0.5)
    optimizer = torch.optim.AdamW(draft.parameters(), lr=args.rate,
                                  betas=(0.9, 0.95), weight_decay=0.01)

    def run(batch):
        """Loss, and at each depth the share of tokens that are the model's choice."""
        tokens, taps = ids[batch], [state[batch].float() for state in states]
        losses, right = [], []
        for step, logits in enumerate(chain(draft, tokens, taps, args.depth)):
            wanted = targets[batch][:, step + 1:step + 1 + logits.shape[1]].float()
            losses.append(F.cross_entropy(logits.flatten(0, 1),
                                          wanted[..., known].softmax(-1).flatten(0, 1)))
            right.append((known[logits.argmax(-1)] == wanted.argmax(-1)).float().mean())
        # Deeper rows are drafted less often.
        loss = sum(loss * 0.8 ** step for step, loss in enumerate(losses))
        return loss, torch.stack(right)

    history = []
    for step in range(args.steps):
        done = step / args.steps
        rate = args.rate * min(1, 50 * done) * (0.5 + 0.5 * math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = torch.randint(held_out, len(ids), (args.batch,), generator=rng)
        loss, _ = run(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(draft.parameters(), 1.0)
        optimizer.step()
        if step % 40 == 0 or step + 1 == args.steps:
            with torch.no_grad():
                _, right = run(torch.arange(held_out))
            history.append([step, round(float(loss.detach()), 4),
                            [round(float(r), 4) for r in right]])
            print(f"step {step}: loss {history[-1][1]}, held out right "
                  f"{history[-1][2]}, {time.time() - start:.0f} s", flush=True)
    eagle3.save(draft, args.out)
    log = {"made_by": "train_draft.py", "torch": torch.__version__,
           "options": {k: v for k, v in vars(args).items()
                       if k not in ("prompts", "model", "texts", "out")},
           "columns": ["step", "loss", "share of the model's choices, by depth"],
           "history": history}
    (pathlib.Path(args.out) / "train_log.json").write_text(
        json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
