"""Loads a MiniMax-M2 folder into transformers as the reference for tests.

FP8 weights are dequantised by hand to fp32 (value times block multiplier). The
forward is the library's eager one. Two departures, both switches:
- `bf16`: bf16 compute as published engines do it: the correction bias stays fp32, and
  FP8 linears multiply with their exact fp32 weights and round their output once.
- `act_quant`: every FP8 linear fake-quantises its input, per token and per group along
  K: s = amax/448 (1 for a zero group), x -> e4m3(x/s) * s in fp32. A group is 128 wide
  where weights have scales of blocks, a whole row where they have one per channel.
"""

import json
import pathlib
import tempfile
import types

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import MiniMaxM2Config, MiniMaxM2ForCausalLM

import quantize

GROUP = 128
WHOLE = 1 << 30


def load_state(folder):
    state = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        if file.name != "goldens.safetensors":
            state.update(load_file(file))
    return state


def config_of(folder):
    """transformers ignores the published rotary_dim and rope_theta: translate."""
    raw = json.loads((pathlib.Path(folder) / "config.json").read_text())
    raw.pop("quantization_config", None)
    if "rope_parameters" not in raw:
        raw["rope_parameters"] = {
            "rope_type": "default", "rope_theta": raw["rope_theta"],
            "partial_rotary_factor": raw["rotary_dim"] / raw["head_dim"]}
    return MiniMaxM2Config(**raw)


def fake_quantise(x, group=GROUP):
    shape = x.shape
    x = x.float()
    group = min(group, shape[-1])
    pad = -shape[-1] % group
    x = F.pad(x, (0, pad)).unflatten(-1, (-1, group))
    top = x.abs().amax(-1, keepdim=True)
    scale = torch.where(top > 0, top / 448.0, torch.ones_like(top))
    x = (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale
    return x.flatten(-2)[..., :shape[-1]]


def exact_linear(x, weight, group):
    """`group` 0 takes x as it is."""
    y = F.linear(fake_quantise(x, group) if group else x.float(), weight)
    return y.to(x.dtype)


class ExactLinear(torch.nn.Module):
    """A linear whose fp32 weight is kept whatever the model's dtype is."""

    def __init__(self, weight, group):
        super().__init__()
        self.exact = weight
        self.group = group

    def forward(self, x):
        return exact_linear(x, self.exact, self.group)


def exact_experts(self, hidden, top_k_index, top_k_weights):
    """MiniMaxM2Experts.forward with ExactLinear's arithmetic."""
    out = torch.zeros_like(hidden, dtype=torch.float32)
    for e in range(self.num_experts):
        token, slot = torch.where(top_k_index == e)
        if len(token) == 0:
            continue
        both = exact_linear(hidden[token], self.exact_gate_up[e], self.exact_group)
        gate, up = both.chunk(2, dim=-1)
        mid = self.act_fn(gate) * up
        y = exact_linear(mid, self.exact_down[e], self.exact_group)
        out.index_add_(0, token, y.float() * top_k_weights[token, slot, None])
    return out.to(hidden.dtype)


def load(folder, bf16=False, act_quant=False):
    """The model in eval mode on the CPU."""
    state = load_state(folder)
    blocks = any(name.endswith("_scale_inv") for name in state)
    channels = any(name.endswith("_scale") for name in state)
    fp8 = blocks or channels
    group = (GROUP if blocks else WHOLE) if act_quant else 0
    with tempfile.TemporaryDirectory() as tmp:
        save_file(quantize.dequantise_state(
            {k: v if "float8" in str(v.dtype) or "_scale" in k
             else v.float() for k, v in state.items()}),
            pathlib.Path(tmp) / "model.safetensors", metadata={"format": "pt"})
        (pathlib.Path(tmp) / "generation_config.json").write_text("{}")
        model, info = MiniMaxM2ForCausalLM.from_pretrained(
            tmp, config=config_of(folder), dtype=torch.float32,
            attn_implementation="eager", experts_implementation="eager",
            output_loading_info=True)
    assert not any(info.get(k) for k in ("missing_keys", "unexpected_keys",
                                         "mismatched_keys")), info
    model = model.eval()
    biases = [layer.mlp.e_score_correction_bias.clone()
              for layer in model.model.layers]
    frequencies = model.model.rotary_emb.inv_freq.clone()
    exact = fp8 and (bf16 or act_quant)
    if exact:
        weights = [({name: getattr(layer.self_attn, name).weight.detach().clone()
                     for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
                    layer.mlp.experts.gate_up_proj.detach().clone(),
                    layer.mlp.experts.down_proj.detach().clone())
                   for layer in model.model.layers]
    if bf16:
        model = model.to(torch.bfloat16)
        # to() rounds these too; a model loaded as bf16 has them in fp32.
        model.model.rotary_emb.inv_freq = frequencies
    for i, layer in enumerate(model.model.layers):
        layer.mlp.e_score_correction_bias = biases[i]
        if exact:
            for name, weight in weights[i][0].items():
                setattr(layer.self_attn, name, ExactLinear(weight, group))
            experts = layer.mlp.experts
            experts.exact_gate_up, experts.exact_down = weights[i][1:]
            experts.exact_group = group
            experts.forward = types.MethodType(exact_experts, experts)
    model.act_group = group
    return model


@torch.no_grad()
def logits(model, ids):
    """fp32 logits of every position, one full recompute. ids: [T] or [B, T]."""
    batch = torch.as_tensor(ids, dtype=torch.long)
    out = model(batch if batch.dim() == 2 else batch[None], use_cache=False).logits
    return out.float() if batch.dim() == 2 else out[0].float()


def routing(model, ids):
    """(logits, margin, chosen) of one full recompute. ids: [B, T].

    margin [B, T, L]: the last chosen minus the first unchosen score + bias.
    chosen [B, T, L, k]: the chosen experts in ascending order.
    """
    margins, chosen, hooks = [], [], []
    for layer in model.model.layers:
        def hook(gate, args, result, block=layer.mlp):
            scores = torch.sigmoid(result[0].float()) + block.e_score_correction_bias
            top, order = scores.sort(-1, descending=True)
            k = gate.top_k
            margins.append(top[:, k - 1] - top[:, k] if k < top.shape[1]
                           else torch.full_like(top[:, 0], 1e9))
            chosen.append(order[:, :k].sort(-1).values)
        hooks.append(layer.mlp.gate.register_forward_hook(hook))
    values = logits(model, ids)
    for hook in hooks:
        hook.remove()
    shape = values.shape[:2]
    return (values, torch.stack(margins, -1).unflatten(0, shape),
            torch.stack(chosen, 1).unflatten(0, shape))


def routing_margin(model, ids):
    """[B]: the smallest routing margin of each sequence."""
    return routing(model, ids)[1].amin((1, 2))


@torch.no_grad()
def greedy(model, prompts, count, stop=None):
    """[B, P] prompts to [B, P + count]; through the KV cache."""
    ids = torch.as_tensor(prompts, dtype=torch.long)
    cache = None
    last = ids
    for _ in range(count):
        out = model(last, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        last = out.logits[:, -1:].argmax(-1)
        ids = torch.cat([ids, last], 1)
        if stop is not None and bool((last == stop).all()):
            break
    return ids


def gaps(values, ids, prompt_len):
    """[B]: smallest top-1 minus top-2 over decoded steps, relative to max|logit|."""
    top = values[:, prompt_len - 1:-1].topk(2, -1).values
    return (top[..., 0] - top[..., 1]).amin(-1) / values.abs().amax((1, 2))
