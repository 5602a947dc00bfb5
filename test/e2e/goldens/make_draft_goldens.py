#!/usr/bin/env python3
"""Makes small random EAGLE3 drafts of the nano model and what they draft, with the
reference in models/nano/scripts/eagle3.py on the CPU.

drafts.json of each holds prompts, the nano model's greedy texts, and for every step the
tokens that the draft proposes and how many of them the text accepts. Of many seeds the
one is kept whose drafted tokens lead the next best ones by most.

usage: make_draft_goldens.py OUT_DIR [CASE...]
"""

import json
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
NANO = HERE.parents[2] / "models/nano"
sys.path.insert(0, str(NANO / "scripts"))
import eagle3  # noqa: E402
import oracle  # noqa: E402

NEW_TOKENS, COUNT = 16, 5
SEEDS = 6
LEAD = 2e-4  # least lead of a drafted token, of the largest |logit|

BASE = {
    "architectures": ["LlamaForCausalLMEagle3"], "dtype": "bfloat16",
    "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "vocab_size": 768, "draft_vocab_size": 768,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3]},
}
CASES = {
    # Sums go on un-normed; as many KV heads as query heads.
    "draft-legacy": {"num_key_value_heads": 2, "fc_norm": False, "norm_output": False},
    # EAGLE 3.1: each tap and the recurrent state are normed; two query heads a KV head.
    "draft-3.1": {"fc_norm": True, "norm_output": True},
    # All taps normed together, the residual begins normed, older tensor names.
    "draft-together": {"norm_before_fc": True, "norm_before_residual": True,
                       "norm_output": True, "midlayer": True},
    # Tables and a width of its own, four taps from the embedding on.
    "draft-tables": {"hidden_size": 32, "target_hidden_size": 128, "head_dim": 24,
                     "own_tables": True, "num_aux_hidden_states": 4,
                     "eagle_config": {"eagle_aux_hidden_state_layer_ids": [0, 1, 2, 3]}},
    # A third of the vocabulary, and a table of where it lies in the whole one.
    "draft-reduced": {"hidden_size": 32, "target_hidden_size": 128, "own_tables": True,
                      "draft_vocab_size": 256, "fc_norm": True, "norm_output": True},
}


def randomise(draft, seed):
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in draft.parameters():
            if p.dim() == 1:
                p.copy_(torch.rand(p.shape, generator=rng) + 0.5)
            else:
                p.copy_(torch.randn(p.shape, generator=rng) * p.shape[-1] ** -0.5)
            p.copy_(p.bfloat16().float())
        if hasattr(draft, "d2t"):
            count = len(draft.d2t)
            chosen = torch.randperm(draft.config["vocab_size"], generator=rng)[:count]
            draft.d2t.copy_(chosen.sort().values - torch.arange(count))
        if draft.own_tables:
            draft.embed_tokens.weight.mul_(draft.embed_tokens.weight.shape[-1] ** 0.5)
            draft.embed_tokens.weight.copy_(draft.embed_tokens.weight.bfloat16().float())


def steps(draft, text, prompt, states, layers):
    """What is drafted while `text` comes, and the smallest lead."""
    result, least, length = [], 1.0, prompt + 1
    while True:
        count = min(COUNT, NEW_TOKENS - (length - prompt) - 1)
        if count < 1:
            return result, least
        taps = [states[layer][0, :length - 1] for layer in layers]
        tokens, leads = draft.draft(text[:length], taps, count)
        wanted = text[length:length + count].tolist()
        accepted = 0
        while accepted < count and tokens[accepted] == wanted[accepted]:
            accepted += 1
        result.append({"tokens": tokens, "accepted": accepted})
        least = min(least, *leads)
        length += accepted + 1


def make(name, changes, model, texts, out):
    config = {**BASE, **{k: v for k, v in changes.items() if k != "midlayer"}}
    layers = config["eagle_config"]["eagle_aux_hidden_state_layer_ids"]
    config["num_aux_hidden_states"] = len(layers)
    tables = (model.model.embed_tokens.weight.detach(), model.lm_head.weight.detach())
    best = None
    with torch.no_grad():
        states = [model(text[None, :-1], use_cache=False,
                        output_hidden_states=True).hidden_states for _, text in texts]
    for seed in range(SEEDS):
        draft = eagle3.Eagle3(config, *tables).eval()
        randomise(draft, seed)
        found = [steps(draft, text, prompt, state, layers)
                 for (prompt, text), state in zip(texts, states)]
        lead = min(least for _, least in found)
        if best is None or lead > best[0]:
            best = lead, seed, draft, [each for each, _ in found]
    lead, seed, draft, drafts = best
    assert lead >= LEAD, f"{name}: least lead {lead:.2g}"
    eagle3.save(draft, out / name, midlayer=bool(changes.get("midlayer")))
    golden = {"made_by": "make_draft_goldens.py", "seed": seed, "lead": round(lead, 5),
              "spec_tokens": COUNT, "max_new_tokens": NEW_TOKENS,
              "texts": [{"prompt": text[:prompt].tolist(),
                         "tokens": text[prompt:].tolist(), "drafts": each}
                        for (prompt, text), each in zip(texts, drafts)]}
    (out / name / "drafts.json").write_text(json.dumps(golden) + "\n")
    print(f"{name}: seed {seed}, least lead {lead:.4f}, "
          f"{sum(d['accepted'] for each in drafts for d in each)} accepted")


def main():
    out = pathlib.Path(sys.argv[1])
    model = oracle.load(NANO / "bf16")
    greedy = json.loads((NANO / "greedy.json").read_text())["variants"]["bf16"]
    texts = [(len(each["prompt_ids"]),
              torch.tensor(each["prompt_ids"] + each["new_ids"][:NEW_TOKENS]))
             for each in greedy[:3]]
    for name in sys.argv[2:] or CASES:
        make(name, CASES[name], model, texts, out)


if __name__ == "__main__":
    main()
