"""The reference of EAGLE3 drafts (Li et al. 2025) in torch, for training and goldens.

A draft predicts the token behind the next one. Row t stands for position t: it sees the
embedding of token t + 1 and the features of position t, which are `fc` of the target's
hidden states that enter the tapped layers. Behind the last token that the target has
seen, the draft's own output takes the place of the features. Shapes are [T, ...], one
sequence at a time; only training has a batch in front.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, positions, theta):
    """NeoX rotation of all dims; x [..., T, heads, dim], positions [T]."""
    half = x.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = (positions[:, None].float() * frequencies)[:, None, :]
    low, high = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


class Eagle3(nn.Module):
    """Parameters have the names of published checkpoints. `table` and `head`, [V, H],
    are the target's where the config of a draft does not ask for its own."""

    def __init__(self, config, table, head):
        super().__init__()
        self.config = config
        hidden, eps = config["hidden_size"], config["rms_norm_eps"]
        target = config.get("target_hidden_size") or hidden
        self.count = config.get("num_aux_hidden_states") or 3
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.dim = config["head_dim"]
        q, kv = self.heads * self.dim, self.kv_heads * self.dim
        width = config["intermediate_size"]
        linear = lambda n, m: nn.Linear(n, m, bias=False)
        if config.get("fc_norm"):
            self.fc_norm = nn.ModuleList(Norm(target, eps) for _ in range(self.count))
        if config.get("norm_before_fc"):
            self.input_norm = Norm(self.count * target, eps)
        self.fc = linear(self.count * target, hidden)
        layer = nn.Module()
        layer.input_layernorm = Norm(hidden, eps)
        layer.hidden_norm = Norm(hidden, eps)
        layer.post_attention_layernorm = Norm(hidden, eps)
        layer.self_attn = nn.Module()
        layer.self_attn.q_proj = linear(2 * hidden, q)
        layer.self_attn.k_proj = linear(2 * hidden, kv)
        layer.self_attn.v_proj = linear(2 * hidden, kv)
        layer.self_attn.o_proj = linear(q, hidden)
        layer.mlp = nn.Module()
        layer.mlp.gate_proj = linear(hidden, width)
        layer.mlp.up_proj = linear(hidden, width)
        layer.mlp.down_proj = linear(width, hidden)
        self.layers = nn.ModuleList([layer])
        self.norm = Norm(hidden, eps)
        self.own_tables = bool(config.get("own_tables"))
        if self.own_tables:
            self.embed_tokens = nn.Embedding(config["vocab_size"], hidden)
            self.lm_head = linear(hidden, config["draft_vocab_size"])
            if config["draft_vocab_size"] < config["vocab_size"]:
                self.register_buffer("d2t", torch.zeros(config["draft_vocab_size"],
                                                        dtype=torch.int64))
        self.table, self.head = table, head

    def features(self, taps):
        """taps: the hidden states that enter the tapped layers, in their order."""
        if self.config.get("fc_norm"):
            taps = [norm(tap) for norm, tap in zip(self.fc_norm, taps)]
        x = torch.cat(taps, -1)
        if self.config.get("norm_before_fc"):
            x = self.input_norm(x)
        return self.fc(x)

    def embed(self, tokens):
        return F.embedding(tokens, self.embed_tokens.weight if self.own_tables
                           else self.table)

    def logits(self, output):
        return F.linear(output, self.lm_head.weight if self.own_tables else self.head)

    def token(self, draft):
        """The target's id of a draft's."""
        return draft + self.d2t[draft] if hasattr(self, "d2t") else draft

    def project(self, tokens, g, positions):
        """Queries, keys and values of rows, and where their residual begins."""
        layer = self.layers[0]
        normed = layer.hidden_norm(g)
        x = torch.cat([layer.input_layernorm(self.embed(tokens)), normed], -1)
        split = lambda y: y.unflatten(-1, (-1, self.dim))
        theta = self.config["rope_theta"]
        q = rotate(split(layer.self_attn.q_proj(x)), positions, theta)
        k = rotate(split(layer.self_attn.k_proj(x)), positions, theta)
        v = split(layer.self_attn.v_proj(x))
        groups = self.heads // self.kv_heads
        k, v = (y.repeat_interleave(groups, -2) for y in (k, v))
        return q, k, v, normed if self.config.get("norm_before_residual") else g

    def finish(self, attended, residual):
        """Behind attention: what the head sees, and what takes the place of g."""
        layer = self.layers[0]
        r = residual + layer.self_attn.o_proj(attended.flatten(-2))
        n = layer.post_attention_layernorm(r)
        r = r + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(n)) * layer.mlp.up_proj(n))
        output = self.norm(r)
        return output, output if self.config.get("norm_output") else r

    @torch.no_grad()
    def draft(self, tokens, taps, count):
        """`count` tokens that may follow `tokens` [n], of all but the last of which
        the target's hidden states are given; and each one's lead over the next best,
        of the largest logit."""
        g = self.features(taps)
        positions = torch.arange(len(g))
        fresh = tokens[1:]
        keys = values = None
        drafted, leads = [], []
        for step in range(count):
            q, k, v, residual = self.project(fresh, g, positions)
            keys = k if keys is None else torch.cat([keys, k])
            values = v if values is None else torch.cat([values, v])
            scores = torch.einsum("qhd,khd->hqk", q, keys) * self.dim ** -0.5
            visible = torch.arange(len(keys))[None, :] <= positions[:, None]
            weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
            attended = torch.einsum("hqk,khd->qhd", weights, values)
            output, carried = self.finish(attended, residual)
            row = self.logits(output[-1])
            best = row.topk(2)
            drafted.append(int(self.token(best.indices[0])))
            leads.append(float((best.values[0] - best.values[1]) / row.abs().max()))
            fresh = torch.tensor([drafted[-1]])
            g, positions = carried[-1:], positions[-1:] + 1
        return drafted, leads


def save(draft, folder, midlayer=False):
    """As published: bf16 weights, without the tables that are the target's. Older
    folders call the layer `midlayer`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in draft.config.items() if key != "own_tables"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {name: value if value.dtype == torch.int64 else value.to(torch.bfloat16)
             for name, value in draft.state_dict().items()
             if name not in ("table", "head")}
    if "d2t" in state:
        known = torch.zeros(config["vocab_size"], dtype=torch.bool)
        known[torch.arange(len(state["d2t"])) + state["d2t"]] = True
        state["t2d"] = known
    if midlayer:
        state = {k.replace("layers.0.", "midlayer."): v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in state.items()},
              folder / "model.safetensors", metadata={"format": "pt"})


def load(folder, table, head):
    folder = pathlib.Path(folder)
    state = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["own_tables"] = "embed_tokens.weight" in state
    draft = Eagle3(config, table, head)
    draft.load_state_dict({k: v if v.dtype == torch.int64 else v.float()
                           for k, v in state.items() if k != "t2d"}, strict=True)
    return draft.eval()
