#!/usr/bin/env python3
"""Makes the golden checkpoints of Text-01 and M1 and their logits with transformers.

As make_goldens.py, in fp32 only: transformers keeps decays and state in the model's
dtype, so its bf16 runs say nothing. Weights are random, and of many random prompts
the one is kept whose greedy path is farthest from ties of tokens and routing.

transformers' MiniMaxForCausalLM departs from the code published with the models. What
is published counts, so publish() patches the departures:
- it rotates all dims of a head whatever the config says;
- its slopes are powers of 2^(-8/heads) for every number of heads, where the published
  code has ALiBi's rule, which is another one unless heads is a power of two;
- it divides a layer's place by layers - 1 + 1e-5, not by layers - 1, which makes the
  last layer decay a third faster;
- it always adds a branch to the normed input, which published configs ask for with
  `postnorm`;
- it has no shared expert. share() adds the published one: of its output and that of the
  routed experts, a token takes c and 1 - c parts, c the sigmoid of one number of its
  own. transformers is no reference for it, these lines are.

usage: make_m1_goldens.py OUT_DIR [CASE...]
"""

import json
import math
import types

import torch
from safetensors.torch import load_file, save_file
from transformers import MiniMaxConfig, MiniMaxForCausalLM
from transformers.utils import logging
from transformers.models.minimax import modeling_minimax as library
from transformers.models.minimax_m2 import modeling_minimax_m2 as partial

# Finds oracle, too.
from checkpoints import (DTYPES, NEW_TOKENS, draw_parameters, find_paths, make_all,
                         path_tensors, write_case)
import oracle

from m1_cases import CASES

DRAWS = 6  # of candidates for each prompt, before other weights are tried
GAP = 1e-3  # best token's lead, of the largest |logit|
FACTORS = ("layernorm_linear_attention_alpha", "layernorm_linear_attention_beta",
           "layernorm_full_attention_alpha", "layernorm_full_attention_beta",
           "layernorm_mlp_alpha", "layernorm_mlp_beta")
RENAMED = ("linear_attn_alpha_factor", "linear_attn_beta_factor",
           "full_attn_alpha_factor", "full_attn_beta_factor",
           "mlp_alpha_factor", "mlp_beta_factor")
KINDS = {"L": "linear_attention", "F": "full_attention"}


def make_config(case):
    return MiniMaxConfig(
        vocab_size=case.vocab, hidden_size=case.hidden,
        intermediate_size=case.inter, num_hidden_layers=len(case.layers),
        num_attention_heads=case.heads, num_key_value_heads=case.kv,
        head_dim=case.head_dim, num_local_experts=case.experts,
        num_experts_per_tok=case.top_k, rms_norm_eps=case.eps,
        layer_types=[KINDS[kind] for kind in case.layers], block_size=case.block,
        max_position_embeddings=case.max_positions, bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=case.tied,
        rope_parameters={"rope_type": "default", "rope_theta": case.theta},
        **dict(zip(RENAMED, case.factors)))


def published_config(case):
    """The fields of the published config.json of M1."""
    config = {
        "architectures": ["MiniMaxM1ForCausalLM"], "attention_dropout": 0.0,
        "attn_type_list": ["LF".index(kind) for kind in case.layers],
        "bos_token_id": None, "eos_token_id": None, "head_dim": case.head_dim,
        "hidden_act": "silu", "hidden_size": case.hidden,
        "intermediate_size": case.inter, "max_position_embeddings": case.max_positions,
        "model_type": "minimax_m1", "num_attention_heads": case.heads,
        "num_experts_per_tok": case.top_k, "num_hidden_layers": len(case.layers),
        "num_key_value_heads": case.kv, "num_local_experts": case.experts,
        "output_router_logits": False, "rms_norm_eps": case.eps,
        "rope_theta": case.theta, "rotary_dim": case.rotary,
        "shared_intermediate_size": case.shared, "shared_moe_mode": "sigmoid",
        "sliding_window": None, "tie_word_embeddings": case.tied,
        "transformers_version": "4.45.2", "use_cache": True,
        "vocab_size": case.vocab,
    }
    if case.postnorm:
        config["postnorm"] = True
    if set(case.factors) != {1.0}:
        config |= dict(zip(FACTORS, case.factors))
    return config


def slopes(heads):
    """ALiBi's, as the published code builds them."""
    def powers(n):
        start = 2.0 ** (-(2.0 ** -(math.log2(n) - 3)))
        return [start ** (i + 1) for i in range(n)]
    if math.log2(heads).is_integer():
        return powers(heads)
    closest = 2 ** math.floor(math.log2(heads))
    return powers(closest) + slopes(2 * closest)[0::2][:heads - closest]


def prenorm(self, hidden_states, position_embeddings=None, attention_mask=None,
            **kwargs):
    """A layer whose residual is what comes in, not its norm."""
    def add(x, branch, alpha, beta):
        return x * alpha + branch * beta
    branch, _ = self.self_attn(
        hidden_states=self.input_layernorm(hidden_states),
        position_embeddings=position_embeddings, attention_mask=attention_mask,
        **kwargs)
    x = add(hidden_states, branch, self.attn_alpha_factor, self.attn_beta_factor)
    return add(x, self.mlp(self.post_attention_layernorm(x)), self.mlp_alpha_factor,
               self.mlp_beta_factor)


class SharedExpert(torch.nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate_proj = torch.nn.Linear(hidden, width, bias=False)
        self.up_proj = torch.nn.Linear(hidden, width, bias=False)
        self.down_proj = torch.nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) *
                              self.up_proj(x))


def build(case):
    model = MiniMaxForCausalLM(make_config(case)).eval()
    return share(case, model) if case.shared else model


def share(case, model):
    """Gives every layer a shared expert beside its routed ones."""
    def beside(layer, routed):
        def forward(x):
            c = torch.sigmoid(layer.coefficient(x))
            return (1 - c) * routed(x) + c * layer.shared_mlp(x)
        return forward
    for layer in model.model.layers:
        layer.shared_mlp = SharedExpert(case.hidden, case.shared)
        layer.coefficient = torch.nn.Linear(case.hidden, 1, bias=False)
        layer.mlp.forward = beside(layer, layer.mlp.forward)
    return model


@torch.no_grad()
def publish(case, model):
    """Makes `model` compute what the published code does."""
    base = torch.tensor(slopes(case.heads), dtype=torch.float32)
    for index, layer in enumerate(model.model.layers):
        if not case.postnorm:
            layer.forward = types.MethodType(prenorm, layer)
        if case.layers[index] == "F":
            continue
        attention = layer.self_attn
        place = index / (len(case.layers) - 1) if len(case.layers) > 1 else 0
        rate = (base * (1 - place + 1e-5))[:, None, None]
        attention.slope_rate.copy_(rate)
        for name, value in zip(("query_decay", "key_decay", "diagonal_decay"),
                               attention.decay_factors(rate)):
            getattr(attention, name).copy_(value)
    frequencies = torch.arange(0, case.rotary, 2, dtype=torch.float) / case.rotary
    model.model.rotary_emb.inv_freq = 1.0 / case.theta ** frequencies
    # Rotates as many dims as there are cosines.
    library.apply_rotary_pos_emb = partial.apply_rotary_pos_emb


def save_checkpoint(case, model, folder):
    """Writes config.json and the weights; `model` keeps what was rounded."""
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    file = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    # save_pretrained takes shared_mlp for the routed experts' module.
    state = {k.replace("shared.block_sparse_moe", "shared_mlp"): v
             for k, v in load_file(file).items()}
    if case.published:
        config = published_config(case)
        decays = ("slope_rate", "_decay")
        state = {k: v for k, v in state.items() if not k.endswith(decays)}
    elif case.rotary != case.head_dim:
        config["rotary_dim"] = case.rotary
    wide = "gate.weight" if case.storage == "bf16" else "\0"
    for name, tensor in state.items():
        if not name.endswith("block_sparse_moe." + wide):
            state[name] = tensor.to(DTYPES[case.storage])
    save_file(state, file, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for written in folder.iterdir():
        written.chmod(0o644)


def load(case, folder):
    """What the folder's weights are in fp32, as the published code computes."""
    model = build(case)
    state = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    experts = {}
    for name in list(state):
        if ".experts." not in name:
            continue
        layer, expert = name.split("block_sparse_moe.experts.")
        index, which = expert.split(".")[:2]
        experts.setdefault(layer, {})[int(index), which] = state.pop(name)
    for layer, parts in experts.items():
        stack = range(case.experts)
        state[layer + "mlp.experts.gate_up_proj"] = torch.stack(
            [torch.cat([parts[e, "w1"], parts[e, "w3"]]) for e in stack])
        state[layer + "mlp.experts.down_proj"] = torch.stack(
            [parts[e, "w2"] for e in stack])
    state = {k.replace("block_sparse_moe", "mlp"): v for k, v in state.items()}
    result = model.load_state_dict(state, strict=False)
    missing = [k for k in result.missing_keys if "decay" not in k and
               "slope" not in k and not (case.tied and "lm_head" in k)]
    assert not missing and not result.unexpected_keys, result
    model.tie_weights()
    publish(case, model)
    return model


def routing_margin(case, model, ids):
    """(logits, margin [B]). A margin is the last chosen minus the first unchosen
    probability, the smallest of any position and layer."""
    margins, hooks = [], []

    def hook(gate, args, result):
        top = result[0].float().softmax(-1).sort(-1, descending=True).values
        k = case.top_k
        margins.append(top[:, k - 1] - top[:, k] if k < case.experts
                       else torch.ones_like(top[:, 0]))
    for layer in model.model.layers:
        hooks.append(layer.mlp.gate.register_forward_hook(hook))
    values = oracle.logits(model, ids)
    for handle in hooks:
        handle.remove()
    smallest = torch.stack(margins, -1).unflatten(0, values.shape[:2])
    return values, smallest.amin((1, 2))


def choose(case, model, length, seed):
    """The best candidate (token ids and what was measured), or None."""
    for draw in range(DRAWS):
        rng = torch.Generator().manual_seed(DRAWS * seed + draw)
        ids = torch.randint(case.vocab, (case.candidates, length), generator=rng)
        ids = ids[routing_margin(case, model, ids)[1] > case.margin]
        if not len(ids):
            continue
        for _ in range(NEW_TOKENS):
            ids = torch.cat([ids, oracle.logits(model, ids)[:, -1:].argmax(-1)], 1)
        values, margin = routing_margin(case, model, ids)
        gap = oracle.gaps(values, ids, length)
        variety = torch.tensor([len(set(row[length:].tolist())) for row in ids])
        good = (gap > GAP) & (margin > case.margin)
        good &= variety >= min(4, case.vocab // 2)
        if good.any():
            score = torch.minimum(gap / GAP, margin / case.margin)
            best = int((score * good).argmax())
            return ids[best], {"seed": seed, "gap": float(gap[best]),
                               "routing_margin": float(margin[best]),
                               "different_new_tokens": int(variety[best])}
    return None


def make(case, out):
    folder = out / case.name

    def make_model(seed):
        model = build(case)
        draw_parameters(case, model, torch.Generator().manual_seed(seed))
        save_checkpoint(case, model, folder)
        return load(case, folder)

    model, found = find_paths(case, folder, 100, make_model, choose)
    tensors, paths = path_tensors(case, model, found)
    for suffix, _, note, exact in paths:
        tensors["logits_f32" + suffix] = exact.contiguous()
        note["largest_logit"] = float(exact.abs().max())
    write_case(case, folder, tensors, [note for _, _, note, _ in paths],
               bf16=False, fp8=False)


if __name__ == "__main__":
    logging.disable_progress_bar()
    make_all(__doc__, CASES, make)
