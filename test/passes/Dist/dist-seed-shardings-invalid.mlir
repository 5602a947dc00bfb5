// RUN: saddle-opt %s --split-input-file --dist-seed-shardings --verify-diagnostics

// expected-error @+1 {{module has no mesh with an axis "tp"; run dist-attach-mesh first}}
module {
}

// -----

// expected-error @+1 {{module has no mesh with an axis "tp"; run dist-attach-mesh first}}
module {
dist.mesh @mesh ["x" = 2]
}

// -----

// The divisors of 12 are 1, 2, 3, 4, 6 and 12; 2 KV heads divide all but 3,
// and 3 neither divides nor is a multiple of 2. Width 24 allows them all.
// expected-error @+1 {{num_attention_heads = 12 cannot be split over tp = 8; legal tp up to 64: 1, 2, 4, 6, 12, 24}}
module {
dist.mesh @mesh ["tp" = 8]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<96x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<16x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
}

// -----

// 6 KV heads over 4 ranks are neither partitioned (6 mod 4 = 2) nor replicated
// (4 mod 6 = 4). Of the divisors of 24, those that divide 6 or that 6 divides.
// expected-error @+1 {{num_key_value_heads = 6 cannot be split over tp = 4; legal tp up to 64: 1, 2, 3, 6, 12, 24}}
module {
dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<192x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<48x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
}

// -----

// Of the divisors of 20, those of 8.
// expected-error @+1 {{intermediate_size = 20 cannot be split over tp = 8; legal tp up to 64: 1, 2, 4, 10, 20}}
module {
dist.mesh @mesh ["tp" = 8]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<16x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x20x32xbf16>
}

// -----

// A shared expert belongs to no group of experts: all ranks split it.
// expected-error @+1 {{shared_intermediate_size = 10 cannot be split over tp = 4; legal tp up to 64: 2}}
module attributes {dist.topology = {tp = 4, dp = 1, ep = 2, pp = 1}} {
dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x8x32xbf16>
model.weight @s1 from "s1" dims ["shared_experts", "shared_width", "hidden"] : tensor<1x10x32xbf16>
}

// -----

// 20 / 4 = 5 columns of int4 are no whole bytes.
// expected-error @+1 {{intermediate_size = 20 cannot be split over tp = 4 in shares of 2, which share a byte or are rotated together; legal tp up to 64: 1, 2, 10}}
module {
dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<16x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x20x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"]
    stored <packed i32 [0, 1, 2, 3, 4, 5, 6, 7], offset 8, scale f32 [1, 4] from "{}.s"> : tensor<6x32x20xui4>
}

// -----

// 128 / 4 columns are half of those that a Hadamard matrix mixes.
// expected-error @+1 {{intermediate_size = 128 cannot be split over tp = 4 in shares of 64, which share a byte or are rotated together; legal tp up to 64: 1, 2}}
module {
dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<16x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x128x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"]
    stored <rotated 64, scale f32 [*, *] from "{}.s"> : tensor<6x32x128xf8E4M3FN>
}

// -----

// 6 experts in groups: divisors of 8 ranks that divide 6.
// expected-error @+1 {{num_local_experts = 6 cannot be dealt to ep = 4 groups; legal ep: 1, 2}}
module attributes {dist.topology = {tp = 8, dp = 1, ep = 4, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<16x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
}

// -----

// Two replicas of width 6 over 8 heads; legal tp are twice the widths 1, 2, 4, 8,
// and 12 and 24, where three ranks hold one share each.
// expected-error @+1 {{num_attention_heads = 8 cannot be split over tp = 12, dp = 2; legal tp up to 64: 2, 4, 8, 16, 24, 48}}
module attributes {dist.topology = {tp = 12, dp = 2, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 12]
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<64x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x48x32xbf16>
}

// -----

// A misspelt name would otherwise leave its weight whole on every rank.
module {
dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{no rule splits a dimension named "q_head"; known names: hidden, features, drafted_vocab, router_experts, scale, q_heads, kv_heads, experts, expert_width, shared_experts, shared_width, dense_width, embedding_vocab, vocab}}
model.weight @q_proj from "q" dims ["q_head" x 8, "hidden"] : tensor<64x32xbf16>
}

// -----

// Whole names are checked too.
module {
dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{no rule splits a dimension named "hiden"}}
model.weight @norm from "n" dims ["hiden"] : tensor<32xbf16>
}

// -----

// 64 elements are 8 heads of 8 here and 16 heads of 4 there.
module {
dist.mesh @mesh ["tp" = 2]
// expected-note @+1 {{it is defined here}}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
// expected-error @+1 {{has 16 units of "q_heads", but another symbol has 8}}
model.weight @q_norm from "n" dims ["q_heads" x 4] : tensor<64xbf16>
}

// -----

// A weight that forgets its unit does not agree with the cache.
module {
dist.mesh @mesh ["tp" = 2]
// expected-note @+1 {{it is defined here}}
model.weight @k_proj from "k" dims ["kv_heads", "hidden"] : tensor<32x32xbf16>
// expected-error @+1 {{has 4 units of "kv_heads", but another symbol has 32}}
model.kv_cache @kv heads 4 head_dim 8 : bf16
}

// -----

// expected-error @+1 {{the model has no experts to deal to ep = 2 groups; use ep = 1}}
module attributes {dist.topology = {tp = 2, dp = 1, ep = 2, pp = 1}} {
dist.mesh @mesh ["tp" = 2]
model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
}
