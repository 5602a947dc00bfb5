#!/usr/bin/env python3
"""Trains the nano model: MiniMaxM2ForCausalLM on the text of make_text.py.

Differences from a plain training loop, both exact in forward value:
- experts are computed densely (every expert on every token, weights zero where not
  chosen), which is far faster than a loop at this size;
- experts are balanced as in the published models, without an auxiliary loss: after
  each step the selection bias of an over-used expert goes down, of an under-used
  one up. The biases are saved as e_score_correction_bias.

usage: train.py --tokenizer DIR --out DIR [--steps N] [--docs N] [--batch N]
"""

import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import MiniMaxM2Config, MiniMaxM2ForCausalLM
from transformers.models.minimax_m2 import modeling_minimax_m2 as m2

import make_text

CONTEXT = 512
BIAS_STEP = 2e-3


def make_config(tokenizer):
    return MiniMaxM2Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=128,
        intermediate_size=128, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, head_dim=32, num_local_experts=8,
        num_experts_per_tok=2, rms_norm_eps=1e-6, max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.token_to_id(make_text.BOS),
        eos_token_id=tokenizer.token_to_id(make_text.EOS),
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                         "partial_rotary_factor": 0.5})


class Balance:
    """Counts how often each expert of each layer is chosen."""

    def __init__(self, model):
        self.blocks = [layer.mlp for layer in model.model.layers]

    @torch.no_grad()
    def step(self, size):
        for block in self.blocks:
            load = block.load.float()
            block.e_score_correction_bias += size * torch.sign(load.mean() - load)


def dense_moe(block, hidden):
    """MiniMaxM2SparseMoeBlock.forward with every expert on every token."""
    shape = hidden.shape
    x = hidden.reshape(-1, shape[-1])
    with torch.autocast(x.device.type, enabled=False):
        scores = torch.sigmoid(F.linear(x.float(), block.gate.weight.float()))
        chosen = torch.topk(scores + block.e_score_correction_bias,
                            block.top_k, dim=-1).indices
        mask = torch.zeros_like(scores).scatter_(1, chosen, 1.0)
        weights = scores * mask
        weights = weights / weights.sum(-1, keepdim=True)
    block.load = mask.sum(0).detach()
    experts = block.experts
    both = torch.matmul(x, experts.gate_up_proj.transpose(1, 2))
    gate, up = both.chunk(2, dim=-1)
    act = F.silu(gate) * up * weights.t()[..., None].to(both.dtype)
    out = torch.matmul(act, experts.down_proj.transpose(1, 2)).sum(0)
    return out.to(hidden.dtype).reshape(shape)


def pack(tokenizer, docs, seed):
    """Rows of CONTEXT tokens, each beginning with a document; the rest is cut."""
    texts = list(make_text.documents(docs, seed))
    rows, row = [], []
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        row += encoding.ids
        if len(row) > CONTEXT:
            rows.append(row[:CONTEXT + 1])
            row = []
    return torch.tensor(rows, dtype=torch.int32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--docs", type=int, default=300000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seconds", type=float, default=1e9,
                        help="stop (with a finished schedule) near this time")
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    start = time.time()
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    data = pack(tokenizer, args.docs, seed=2).to(device)
    held_out = pack(tokenizer, 2000, seed=3).to(device)[:64]
    print(f"{len(data)} rows of {CONTEXT} tokens, {time.time() - start:.0f} s",
          flush=True)

    config = make_config(tokenizer)
    model = MiniMaxM2ForCausalLM(config).to(device)
    for p in model.parameters():
        if p.dim() == 2 or p.dim() == 3:
            torch.nn.init.normal_(p, std=p.shape[-1] ** -0.5)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.5)
    sparse_forward = m2.MiniMaxM2SparseMoeBlock.forward
    m2.MiniMaxM2SparseMoeBlock.forward = dense_moe
    balance = Balance(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}",
          flush=True)

    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05},
         {"params": plain, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.95),
        fused=device == "cuda")

    def loss_of(rows):
        rows = rows.long()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(rows[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())

    history = []
    train_start = time.time()
    steps = args.steps
    step = 0
    while step < steps:
        warm = min(1.0, (step + 1) / 100)
        rate = args.lr * warm * (0.02 + 0.98 * 0.5 *
                                 (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = data[torch.randint(len(data), (args.batch,), device=device)]
        loss = loss_of(rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        balance.step(BIAS_STEP * rate / args.lr)
        step += 1
        if step == 60:  # how many steps fit, once warmed up
            if device == "cuda":
                torch.cuda.synchronize()
            mark, mark_step = time.time(), step
        if step == 110:
            if device == "cuda":
                torch.cuda.synchronize()
            per_step = (time.time() - mark) / (step - mark_step)
            left = args.seconds - (time.time() - start)
            steps = min(steps, step + max(1, int(left / per_step)))
            print(f"{per_step * 1e3:.1f} ms per step, {steps} steps", flush=True)
        if step % 100 == 0 or step == steps:
            with torch.no_grad():
                value = loss_of(held_out).item()
            history.append([step, round(loss.item(), 4), round(value, 4)])
            print(f"step {step} loss {loss.item():.4f} held out {value:.4f} "
                  f"{time.time() - train_start:.0f} s", flush=True)

    for i, block in enumerate(balance.blocks):
        share = (block.load / block.load.sum()).tolist()
        print(f"layer {i} share", [round(s, 3) for s in share], "bias",
              [round(b, 3) for b in block.e_score_correction_bias.tolist()])

    # Back to the library's own forward; weights rounded once to bf16.
    m2.MiniMaxM2SparseMoeBlock.forward = sparse_forward
    model = model.eval()
    biases = [b.e_score_correction_bias.clone() for b in balance.blocks]
    model = model.to(torch.bfloat16)
    rounded = model.float()
    for block, bias in zip(balance.blocks, biases):
        block.e_score_correction_bias.copy_(bias)
    with torch.no_grad():
        value = F.cross_entropy(
            rounded(held_out[:16, :-1].long(), use_cache=False).logits.flatten(0, 1),
            held_out[:16, 1:].long().flatten()).item()
    print(f"held out after rounding {value:.4f} (library forward, fp32)")

    model = rounded.to(torch.bfloat16)
    for block, bias in zip(balance.blocks, biases):
        block.e_score_correction_bias = bias  # stays fp32
    args.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.out)
    (args.out / "train_log.json").write_text(json.dumps({
        "steps": steps, "batch": args.batch, "context": CONTEXT, "lr": args.lr,
        "docs": args.docs, "torch": torch.__version__, "held_out_bf16": value,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "history": history}) + "\n")

    model = rounded.float()
    for prompt in ["One day", "The capital of Japan is", "3 + 4 =",
                   f"{make_text.BOS}{make_text.ROLE}user\nWho is Ruth?"
                   f"{make_text.EOS}\n{make_text.ROLE}ai\n"]:
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        with torch.no_grad():
            for _ in range(40):
                logits = model(torch.tensor([ids], device=device),
                               use_cache=False).logits
                ids.append(int(logits[0, -1].argmax()))
                if ids[-1] == config.eos_token_id:
                    break
        print(repr(tokenizer.decode(ids, skip_special_tokens=False)), flush=True)
    print(f"{time.time() - start:.0f} s in all")


if __name__ == "__main__":
    main()
