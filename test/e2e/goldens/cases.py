"""The golden checkpoints: one Case each. Sizes are small on purpose."""

import dataclasses


@dataclasses.dataclass
class Case:
    name: str
    about: str
    layers: int
    hidden: int
    heads: int
    kv: int
    head_dim: int
    experts: int
    top_k: int
    inter: int
    vocab: int
    eps: float = 1e-6
    rotary: float = 0.5
    theta: float = 5e6
    storage: str = "f32"  # f32, bf16, f16, bf16_gate_f32, fp8, fp8_channels
    prompts: tuple = (16,)  # lengths; more than one is a batch
    tps: tuple = (1, 2, 4, 8)
    shards: int = 1
    bias_base: float = 0.0
    bias_spread: float = 1.0
    gate_scale: float = 2.0
    embed_std: float = 1.0
    published: bool = False  # config.json in the published form, not transformers'
    bf16: bool = True  # bf16 goldens are meaningful
    margin: float = 1.5e-2  # smallest routing gap allowed on the path in fp32
    max_positions: int = 128


CASES = [
    Case("base", "plain fp32, two KV heads, bias around 8", 2, 48, 8, 2, 16, 8, 2,
         32, 128, bias_base=8.0),
    Case("one-kv-head", "one KV head, 5 experts top-3, everything bf16, bias too",
         2, 48, 8, 1, 32, 5, 3, 40, 136, eps=1e-5, storage="bf16"),
    Case("three-kv-heads", "12 heads over 3 KV heads of 24, top-1, odd vocabulary",
         1, 32, 12, 3, 24, 6, 1, 24, 99, tps=(1, 3), prompts=(24,),
         bias_spread=0.5),
    Case("quarter-rope", "rotary 8 of 32, 7 experts top-4, fp16 storage", 2, 64, 8,
         4, 32, 7, 4, 32, 200, eps=1e-5, rotary=0.25, storage="f16", theta=1e4),
    Case("full-rope", "all dims rotate, 16 heads, 9 experts top-3, 4 layers, "
         "3 shards", 4, 32, 16, 2, 16, 9, 3, 16, 264, rotary=1.0, storage="bf16",
         shards=3, theta=1e4, prompts=(12,)),
    Case("no-groups", "as many KV as query heads, prime vocabulary, fp32 gate", 2,
         40, 4, 4, 24, 6, 2, 16, 131, eps=1e-5, storage="bf16_gate_f32",
         tps=(1, 2, 4)),
    Case("near-tie", "biases within 1e-3 of each other around 8, gate almost flat",
         3, 48, 8, 4, 16, 8, 2, 16, 96, bias_base=8.0, bias_spread=1e-3,
         gate_scale=0.02, prompts=(24,), bf16=False, margin=2e-5),
    Case("epsilon", "embeddings so small that eps matters; 2 heads of 64, 3 experts",
         2, 32, 2, 1, 64, 3, 2, 16, 96, eps=1e-5, rotary=0.25, embed_std=0.01,
         tps=(1, 2), prompts=(24,), bias_spread=0.1, gate_scale=1.0, bf16=False,
         margin=3e-4),
    Case("batch", "three sequences of 5, 17 and 40 tokens, 8 KV heads", 2, 32, 8, 8,
         16, 4, 1, 16, 104, eps=1e-5, storage="bf16", prompts=(5, 17, 40),
         bias_spread=0.5),
    Case("long", "a prompt of 150 tokens crosses KV pages and chunks", 1, 32, 8, 2,
         16, 4, 2, 16, 64, storage="bf16", theta=1e4, prompts=(150,),
         max_positions=256),
    Case("fp8-odd", "FP8 blocks, no dim a multiple of 128", 2, 160, 8, 4, 24, 5, 2,
         96, 96, storage="fp8", bias_base=8.0, margin=2e-2),
    Case("fp8-published", "FP8 blocks, config.json as M2.5 publishes it", 1, 256, 8,
         2, 32, 4, 2, 128, 128, storage="fp8", published=True, margin=2e-2),
    Case("fp8-half-blocks", "tp = 8 cuts a block of 128 expert rows in two", 1, 256,
         8, 2, 32, 2, 1, 512, 96, storage="fp8", bias_spread=0.3, margin=2e-2),
    Case("fp8-channels", "FP8 with a bf16 scale for each output channel, activations "
         "per token", 2, 160, 8, 4, 24, 6, 2, 96, 96, storage="fp8_channels",
         tps=(1, 2, 4), bias_base=8.0, margin=2e-2),
]
