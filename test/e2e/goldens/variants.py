"""Other roundings that a correct bf16 engine may have: the goldens must survive them.

transformers rounds after every small step; an engine that fuses, or splits a linear
over ranks, rounds elsewhere. vary() models both.
"""

import copy
import types

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.models.minimax_m2 import modeling_minimax_m2 as library

import oracle

NARROW = torch.bfloat16


def linear(x, weight, group):
    """fp32 result of a product whose input may be quantised."""
    return F.linear(oracle.fake_quantise(x, group) if group else x.float(),
                    weight.float())


class SplitLinear(torch.nn.Module):
    """A linear cut along K over `parts` ranks, each rounding its partial sum."""

    def __init__(self, weight, parts, group):
        super().__init__()
        self.exact = weight
        self.parts = parts
        self.group = group

    def forward(self, x):
        pieces = zip(x.chunk(self.parts, -1), self.exact.chunk(self.parts, -1))
        return sum(linear(a, b, self.group).to(NARROW).float()
                   for a, b in pieces).to(NARROW)


def split_experts(self, hidden, index, weights):
    """The experts cut along their intermediate; wide: fp32 up to a rank's sum."""
    rounded = (lambda x: x) if self.wide else (lambda x: x.to(NARROW))
    outs = [torch.zeros(hidden.shape, dtype=torch.float32)
            for _ in range(self.parts)]
    for e in range(self.num_experts):
        token, slot = torch.where(index == e)
        if len(token) == 0:
            continue
        both = rounded(linear(hidden[token], self.all_gate_up[e], self.act_group))
        gate, up = both.chunk(2, -1)
        mid = rounded(F.silu(gate) * up)
        for out, a, b in zip(outs, mid.chunk(self.parts, -1),
                             self.all_down[e].chunk(self.parts, -1)):
            y = rounded(linear(a, b, self.act_group))
            y = rounded(y.float() * weights[token, slot, None])
            out.index_add_(0, token, y.float())
            out.copy_(rounded(out))
    return sum(out.to(NARROW).float() for out in outs).to(NARROW)


def wide_norm(self, x):
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) +
                              self.variance_epsilon)
    return (wide * self.weight.float()).to(NARROW)


def wide_attention(module, query, key, value, mask, scaling, **_):
    """Rotated q and k (fp32 here) are rounded once; everything else is fp32."""
    groups = module.num_key_value_groups
    key = library.repeat_kv(key.to(NARROW).float(), groups)
    value = library.repeat_kv(value.float(), groups)
    scores = query.to(NARROW).float() @ key.transpose(2, 3) * scaling
    out = (scores + mask.float()).softmax(-1) @ value
    return out.transpose(1, 2).to(NARROW).contiguous(), None


AttentionInterface.register("wide", wide_attention)
AttentionMaskInterface.register("wide", eager_mask)


def vary(model, gates, parts, wide):
    """A copy of a bf16 `model` of oracle.load with other roundings.

    parts: ranks that o_proj and the experts' down are cut over. wide: operations are
    fp32 inside, the router (weights `gates`, as stored) fp32 altogether.
    """
    model = copy.deepcopy(model)
    if wide:
        model.config._attn_implementation = "wide"
        rotary = model.model.rotary_emb
        narrow = rotary.forward
        rotary.forward = lambda x, **kw: narrow(x.float(), **kw)
        for module in model.modules():
            if isinstance(module, library.MiniMaxM2RMSNorm):
                module.forward = types.MethodType(wide_norm, module)
    for layer, gate in zip(model.model.layers, gates):
        attention, experts = layer.self_attn, layer.mlp.experts
        o_proj = attention.o_proj
        weight = o_proj.exact if hasattr(o_proj, "exact") else o_proj.weight
        attention.o_proj = SplitLinear(weight, parts, model.act_group)
        experts.all_gate_up = getattr(experts, "exact_gate_up", experts.gate_up_proj)
        experts.all_down = getattr(experts, "exact_down", experts.down_proj)
        experts.parts, experts.wide = parts, wide
        experts.act_group = model.act_group
        experts.forward = types.MethodType(split_experts, experts)
        if wide:
            layer.mlp.gate.weight = torch.nn.Parameter(gate)
    return model
