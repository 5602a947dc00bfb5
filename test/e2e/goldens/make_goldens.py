#!/usr/bin/env python3
"""Makes the golden checkpoints and their logits with transformers on the CPU.

Weights are random: norms in 0.5..1.5, correction biases spread, matrices scaled to
keep activations near 1. Of many random prompts the one is kept whose greedy path
is farthest from ties (tokens and routing) and, where bf16 counts, whose routing
stays the same under every rounding of variants.py; without one, the next seed is
tried. README.md says what the files hold.

usage: make_goldens.py OUT_DIR [CASE...]
"""

import json
import pathlib
import tempfile

import torch
from safetensors.torch import save_file
from transformers import MiniMaxM2Config, MiniMaxM2ForCausalLM

# Finds oracle and quantize, too.
from checkpoints import (DTYPES, NEW_TOKENS, draw_parameters, find_paths, make_all,
                         path_tensors, write_case)
import oracle
import quantize

import channels
import variants
from cases import CASES

CANDIDATES = 160
FINALISTS = 8       # candidates that meet the variants
GAP = 2e-3          # best token's lead, of the largest |logit|
BF16_MARGIN = 1e-2  # smallest routing gap of any bf16 run
ACT_MARGIN = 2e-2   # likewise of transformers with activation quantisation
BF16_NOISE = 1e-2   # bf16 against fp32, of the largest |logit|
ACT_NOISE = 6e-2    # activation quantisation against none, likewise
# A variant against transformers' run of that kind.
VARIANT_NOISE = {"bf16": 1.5e-2, "bf16_act": 6e-2}
USED = 0.6          # least share of all experts that a path uses
COMMON = 0.85       # largest share of tokens with a layer's commonest choice


def make_config(case):
    return MiniMaxM2Config(
        vocab_size=case.vocab, hidden_size=case.hidden,
        intermediate_size=case.inter, num_hidden_layers=case.layers,
        num_attention_heads=case.heads, num_key_value_heads=case.kv,
        head_dim=case.head_dim, num_local_experts=case.experts,
        num_experts_per_tok=case.top_k, rms_norm_eps=case.eps,
        max_position_embeddings=case.max_positions, bos_token_id=None,
        eos_token_id=None, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": case.theta,
                         "partial_rotary_factor": case.rotary})


@torch.no_grad()
def randomise(case, model, seed):
    rng = torch.Generator().manual_seed(seed)
    draw_parameters(case, model, rng)
    for layer in model.model.layers:
        bias = layer.mlp.e_score_correction_bias
        bias.copy_(case.bias_base +
                   torch.randn(bias.shape, generator=rng) * case.bias_spread)
    if case.bf16:
        draw_biases(case, model, rng)


def usage(chosen, experts):
    """[B, T, L, k] to (share of experts used, share of the commonest choice)."""
    layers = chosen.flatten(0, 1).unbind(1)
    used = sum(len(layer.unique()) for layer in layers) / (len(layers) * experts)
    common = max(float(layer.unique(dim=0, return_counts=True)[1].max()) / len(layer)
                 for layer in layers)
    return used, common


@torch.no_grad()
def draw_biases(case, model, rng):
    """Redraws each layer's biases: few thin margins, yet varied choices."""
    ids = torch.randint(case.vocab, (16, 40), generator=rng)
    for layer in model.model.layers:
        seen = []
        hook = layer.mlp.gate.register_forward_hook(
            lambda module, args, result: seen.append(result[0].sigmoid()))
        oracle.logits(model, ids)
        hook.remove()
        fewest = 1.0
        for _ in range(100):
            bias = case.bias_base + torch.randn(
                case.experts, generator=rng) * case.bias_spread
            top, order = (seen[0] + bias).sort(-1, descending=True)
            k = case.top_k
            thin = float((top[:, k - 1] - top[:, k] < 2 * case.margin).float().mean())
            if thin >= fewest:
                continue
            used, common = usage(order[None, :, None, :k].sort(-1).values,
                                 case.experts)
            if used >= USED + 0.1 and common <= COMMON - 0.1:
                fewest = thin
                layer.mlp.e_score_correction_bias.copy_(bias)


def published_config(case):
    """The fields of the published M2.5 config.json, without a dtype."""
    return {
        "architectures": ["MiniMaxM2ForCausalLM"],
        "attn_type_list": [1] * case.layers, "head_dim": case.head_dim,
        "hidden_act": "silu", "hidden_size": case.hidden,
        "intermediate_size": case.inter,
        "max_position_embeddings": case.max_positions,
        "model_type": "minimax_m2", "mtp_transformer_layers": 1,
        "num_attention_heads": case.heads, "num_experts_per_tok": case.top_k,
        "num_hidden_layers": case.layers, "num_key_value_heads": case.kv,
        "num_local_experts": case.experts, "num_mtp_modules": 3,
        "qk_norm_type": "per_layer", "quantization_config": quantize.CONFIG,
        "rms_norm_eps": case.eps, "rope_theta": int(case.theta),
        "rotary_dim": int(case.head_dim * case.rotary),
        "scoring_func": "sigmoid", "shared_intermediate_size": 0,
        "tie_word_embeddings": False, "transformers_version": "4.46.1",
        "use_cache": True, "use_mtp": True, "use_qk_norm": True,
        "use_routing_bias": True, "vocab_size": case.vocab,
    }


def save_checkpoint(case, model, folder):
    """Writes config.json and the weights, dtypes as the case says."""
    folder.mkdir(parents=True)
    if case.storage in ("f32", "bf16", "f16") and case.shards == 1:
        model.to(DTYPES[case.storage]).save_pretrained(folder)
    elif case.shards > 1:
        model = model.to(torch.bfloat16)
        size = sum(p.numel() * 2 for p in model.parameters())
        model.save_pretrained(folder, max_shard_size=size // case.shards + 20000)
        assert len(list(folder.glob("*.safetensors"))) == case.shards
    else:
        with tempfile.TemporaryDirectory() as tmp:
            model.save_pretrained(tmp)
            state = oracle.load_state(tmp)
            config = json.loads((pathlib.Path(tmp) / "config.json").read_text())
        for name, tensor in state.items():
            fp32 = "e_score_correction_bias" in name or name.endswith("gate.weight")
            state[name] = tensor if fp32 else tensor.to(torch.bfloat16)
        config["dtype"] = "bfloat16"
        if case.storage == "fp8_channels":
            state = channels.quantise_state(state)
            config["quantization_config"] = channels.CONFIG
        if case.storage == "fp8":
            state = quantize.quantise_state(state)
            config["quantization_config"] = quantize.CONFIG
        if case.published:
            config = published_config(case)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in folder.iterdir():
        file.chmod(0o644)


def relative(a, b):
    """[B]: largest difference over the largest |b|, per sequence."""
    return (a - b).abs().amax((1, 2)) / b.abs().amax((1, 2))


def survive(case, models, ids, note):
    """True when every bf16 rounding keeps `ids`' routing and stays near."""
    chosen = oracle.routing(models["f32"], ids)[2]
    gates = [layer.mlp.gate.weight for layer in models["f32"].model.layers]
    for kind in ("bf16", "bf16_act"):
        if kind not in models:
            continue
        value = oracle.logits(models[kind], ids).to(torch.bfloat16).float()
        smallest, largest = 1.0, 0.0
        for parts in case.tps:
            for wide in (False, True):
                model = variants.vary(models[kind], gates, parts, wide)
                other, margin, choice = oracle.routing(model, ids)
                smallest = min(smallest, float(margin.min()))
                largest = max(largest, float(relative(other, value)))
                if not choice.equal(chosen) or smallest < BF16_MARGIN or \
                        largest > VARIANT_NOISE[kind]:
                    return False
        note[f"{kind}_variants_margin"] = smallest
        note[f"{kind}_variants_noise"] = largest
    return True


def choose(case, models, length, seed):
    """The best candidate (token ids and what was measured), or None."""
    rng = torch.Generator().manual_seed(seed)
    prompts = torch.randint(case.vocab, (CANDIDATES, length), generator=rng)
    prompts = prompts[oracle.routing_margin(models["f32"], prompts) > case.margin]
    if not len(prompts):
        return None
    ids = oracle.greedy(models["f32"], prompts, NEW_TOKENS)
    values, margin, chosen = oracle.routing(models["f32"], ids)
    margin = margin.amin((1, 2))
    gap = oracle.gaps(values, ids, length)
    variety = torch.tensor([len(set(row[length:].tolist())) for row in ids])
    good = (gap > GAP) & (margin > case.margin) & (variety >= 6)
    if case.bf16:
        spread = [usage(one[None], case.experts) for one in chosen]
        good &= torch.tensor([u >= USED and c <= COMMON for u, c in spread])
    noise = torch.zeros_like(gap)
    margins = {"f32": margin}
    for kind, model in models.items() if good.any() else ():
        if kind == "f32":
            continue
        other, thin, choice = oracle.routing(model, ids)
        margins[kind] = thin.amin((1, 2))
        good &= margins[kind] > (ACT_MARGIN if "act" in kind else BF16_MARGIN)
        good &= (choice == chosen).all(-1).all(-1).all(-1)
        if kind == "bf16":
            noise = relative(other, values)
            good &= noise < BF16_NOISE
        elif kind == "f32_act":
            good &= relative(other, values) < ACT_NOISE
    safety = torch.minimum(gap / GAP, margin / case.margin).clamp(max=3)
    score = safety * variety * good
    for best in score.argsort(descending=True)[:FINALISTS].tolist():
        if not good[best]:
            break
        note = {
            "seed": seed, "gap": float(gap[best]),
            "routing_margin": float(margin[best]),
            "bf16_noise": float(noise[best]) if case.bf16 else None,
            "different_new_tokens": int(variety[best])}
        if not case.bf16:
            return ids[best], note
        note["experts_used"], note["commonest_choice"] = spread[best]
        for kind in list(margins)[1:]:
            note[kind + "_margin"] = float(margins[kind][best])
        if survive(case, models, ids[best:best + 1], note):
            return ids[best], note
    return None


def rotates_partially(folder, case):
    """True when changing partial_rotary_factor changes the logits."""
    if case.rotary == 1.0:
        return True
    model = oracle.load(folder)
    ids = torch.arange(12)
    before = oracle.logits(model, ids)
    assert model.model.rotary_emb.inv_freq.numel() * 2 == \
        case.head_dim * case.rotary
    config = oracle.config_of(folder)
    config.rope_parameters["partial_rotary_factor"] = 1.0
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return bool((oracle.logits(model, ids) - before).abs().max() > 1e-3)


def make(case, out):
    folder = out / case.name

    def make_models(seed):
        model = MiniMaxM2ForCausalLM(make_config(case)).eval()
        randomise(case, model, seed)
        save_checkpoint(case, model, folder)
        models = {"f32": oracle.load(folder)}
        if case.bf16:
            models["bf16"] = oracle.load(folder, bf16=True)
        if case.storage.startswith("fp8"):
            models["f32_act"] = oracle.load(folder, act_quant=True)
            models["bf16_act"] = oracle.load(folder, bf16=True, act_quant=True)
        return models

    models, found = find_paths(case, folder, 1000, make_models, choose)
    assert rotates_partially(folder, case), case.name
    tensors, paths = path_tensors(case, models["f32"], found)
    for suffix, ids, note, exact in paths:
        for kind, model in models.items():
            value = oracle.logits(model, ids)
            if kind.startswith("bf16"):  # the library's logits are bf16 numbers
                value = value.to(torch.bfloat16)
            tensors[f"logits_{kind}{suffix}"] = value.contiguous()
            if kind == "f32_act":
                act = value
            if kind.endswith("act"):
                note[kind + "_change"] = float(
                    relative(value.float()[None], exact[None])[0])
            if kind == "bf16_act":
                note["bf16_act_noise"] = float(
                    relative(value.float()[None], act[None])[0])
        note["largest_logit"] = float(exact.abs().max())
    write_case(case, folder, tensors, [note for _, _, note, _ in paths],
               case.bf16, case.storage.startswith("fp8"))


if __name__ == "__main__":
    make_all(__doc__, CASES, make)
