"""The golden checkpoints of Text-01 and M1: one Case each, as small as they can be."""

import dataclasses

BLOCK = 16
# Lengths around the block of the reference's prefill; together they are a batch.
AROUND = (1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3)


@dataclasses.dataclass
class Case:
    name: str
    about: str
    layers: str  # L linear attention, F full attention
    hidden: int
    heads: int
    kv: int
    head_dim: int
    rotary: int  # dims
    experts: int
    top_k: int
    inter: int
    vocab: int
    eps: float = 1e-5
    theta: float = 1e4
    # alpha and beta of linear attention, full attention, experts
    factors: tuple = (1.3, 1.1, 1.7, 0.9, 1.2, 0.8)
    published: bool = True  # config.json in the published form, else transformers'
    postnorm: bool = True
    tied: bool = False
    shared: int = 0  # width of an expert that all tokens share
    storage: str = "f32"  # f32, bf16 (with the router in f32), f16
    block: int = BLOCK
    prompts: tuple = AROUND
    tps: tuple = (1, 2, 4)
    gate_scale: float = 3.0
    embed_std: float = 1.0
    margin: float = 3e-4  # smallest gap of routing probabilities on the path
    candidates: int = 64  # prompts to choose from at a time
    max_positions: int = 1024


CASES = [
    Case("m1-base", "transformers' config.json and decay tensors, rotary 4 of 8",
         "LLLF", 16, 4, 2, 8, 4, 4, 2, 8, 32, published=False),
    Case("m1-published", "config.json as M1 has it, bf16, prompt beyond the block of "
         "256", "LLF", 16, 8, 2, 8, 4, 4, 2, 8, 24, storage="bf16", block=256,
         theta=1e7, prompts=(300,), factors=(2.2, 1.0, 2.2, 1.0, 2.2, 1.0)),
    Case("m1-twelve-heads", "12 heads, whose slopes are no powers of one base", "LFL",
         20, 12, 4, 8, 4, 6, 2, 8, 32, storage="bf16", prompts=(1, 17, 40)),
    Case("m1-all-linear", "no cache of keys at all; top-1; odd sizes", "LLL", 20, 4, 4,
         12, 6, 3, 1, 12, 28, prompts=(15, 16, 35)),
    Case("m1-all-full", "no recurrence; 6 heads over one KV head, all dims rotate",
         "FF", 16, 6, 1, 16, 16, 5, 3, 8, 36, published=False, tps=(1, 2),
         prompts=(5, 40)),
    Case("m1-prenorm", "published default: no postnorm, no factors", "FL", 16, 4, 2, 16,
         4, 4, 2, 12, 40, postnorm=False, factors=(1.0,) * 6, prompts=(9, 33)),
    Case("m1-one-layer", "one layer, 3 heads, prime vocabulary", "L", 24, 3, 3, 16, 8,
         4, 2, 12, 37, tps=(1, 3), prompts=(3, 20)),
    Case("m1-many-experts", "16 experts top-5, fp16, as many KV heads as heads",
         "FLLL", 16, 8, 8, 8, 2, 16, 5, 4, 40, storage="f16", prompts=(2, 19),
         margin=1e-4),
    Case("m1-epsilon", "embeddings so small that eps counts, tied; factors of one",
         "LF", 16, 4, 1, 16, 16, 2, 2, 16, 44, eps=1e-3, embed_std=0.02, tied=True,
         factors=(1.0,) * 6, published=False, prompts=(16, 30)),
    Case("m1-shared", "an expert that all tokens share, wider than the routed "
         "ones", "LFL", 16, 4, 2, 8, 4, 4, 2, 8, 32, storage="bf16",
         shared=12, prompts=(1, 17, 40)),
    Case("m1-long", "3000 tokens in blocks of 256, every expert chosen", "LF", 8, 2, 1,
         8, 4, 2, 2, 4, 6, storage="bf16", block=256, theta=1e7, prompts=(3000,),
         candidates=4, max_positions=4096),
]
