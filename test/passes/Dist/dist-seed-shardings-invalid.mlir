// RUN: saddle-opt %s --split-input-file --dist-seed-shardings --verify-diagnostics

// expected-error @+1 {{module has no mesh with an axis "tp"; run dist-attach-mesh first}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
}

// -----

// expected-error @+1 {{module has no mesh with an axis "tp"; run dist-attach-mesh first}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["x" = 2]
}

// -----

// expected-error @+1 {{'model.config' needs an integer 'num_attention_heads'}}
module {
dist.mesh @mesh ["tp" = 2]
}

// -----

// expected-error @+1 {{'model.config' needs an integer 'num_key_value_heads'}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = "two", intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 2]
}

// -----

// expected-error @+1 {{'model.config' needs an integer 'intermediate_size'}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 2]
}

// -----

// expected-error @+1 {{'model.config' needs an integer 'vocab_size'}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 24, num_local_experts = 6}} {
dist.mesh @mesh ["tp" = 2]
}

// -----

// The divisors of 12 are 1, 2, 3, 4, 6 and 12; 2 KV heads divide all but 3,
// and 3 neither divides nor is a multiple of 2. Width 24 allows them all.
// expected-error @+1 {{num_attention_heads = 12 cannot be split over tp = 8; legal tp: 1, 2, 4, 6, 12}}
module attributes {model.config = {num_attention_heads = 12, num_key_value_heads = 2, intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 8]
}

// -----

// 6 KV heads over 4 ranks are neither partitioned (6 mod 4 = 2) nor replicated
// (4 mod 6 = 4). Of the divisors of 24, those that divide 6 or that 6 divides.
// expected-error @+1 {{num_key_value_heads = 6 cannot be split over tp = 4; legal tp: 1, 2, 3, 6, 12, 24}}
module attributes {model.config = {num_attention_heads = 24, num_key_value_heads = 6, intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 4]
}

// -----

// Of the divisors of 20, those of 8.
// expected-error @+1 {{intermediate_size = 20 cannot be split over tp = 8; legal tp: 1, 2, 4}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 20, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 8]
}

// -----

// 6 experts in groups: divisors of 8 ranks that divide 6.
// expected-error @+1 {{num_local_experts = 6 cannot be dealt to ep = 4 groups; legal ep: 1, 2}}
module attributes {dist.topology = {tp = 8, dp = 1, ep = 4, pp = 1}, model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 24, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 8]
}

// -----

// Two replicas of width 6 over 8 heads; legal tp are twice the widths 1, 2, 4, 8.
// expected-error @+1 {{num_attention_heads = 8 cannot be split over tp = 12, dp = 2; legal tp: 2, 4, 8, 16}}
module attributes {dist.topology = {tp = 12, dp = 2, ep = 1, pp = 1}, model.config = {num_attention_heads = 8, num_key_value_heads = 8, intermediate_size = 48, num_local_experts = 6, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 12]
}

// -----

// expected-error @+1 {{'model.config' needs an integer 'num_local_experts'}}
module attributes {model.config = {num_attention_heads = 8, num_key_value_heads = 2, intermediate_size = 24, vocab_size = 96}} {
dist.mesh @mesh ["tp" = 2]
}
