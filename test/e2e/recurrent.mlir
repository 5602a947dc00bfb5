// A model by hand: one layer of attention, two of linear attention, whose states
// are not square as those of published models are. 4 query heads, 2 KV heads of
// 8, states of 4 heads of 4 x 8, and index keys that nothing reads.
module attributes {
  model.config = {architecture = "Recurrent", name = "recurrent", hidden_size = 16, num_hidden_layers = 3, num_attention_heads = 4,
      num_key_value_heads = 2, head_dim = 8, intermediate_size = 8, num_local_experts = 4, num_experts_per_tok = 2, vocab_size = 32,
      bos_token_id = -1, compute_dtype = "f32", kv_dtype = "f32", fingerprint = "00000000000000000000000000000000", eos_token_ids = array<i64>},
  model.limits = {max_batch = 4, max_seq_len = 40, page_size = 4, prefill_chunk = 16}
} {
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<32x16xf32>
model.weight @lm_head from "lm_head" dims ["vocab", "hidden"] : tensor<32x16xf32>
model.weight @norm from "norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.0.norm from "layers.0.norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.0.qkv from "layers.0.qkv" dims ["q_heads" x 16, "hidden"] : tensor<64x16xf32>
model.weight @layers.0.o from "layers.0.o" dims ["hidden", "q_heads" x 8] : tensor<16x32xf32>
model.recurrent_state @layers.0.state heads 4 rows 4 cols 8 dim "q_heads"
model.weight @layers.1.norm from "layers.1.norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.1.q from "layers.1.q" dims ["q_heads" x 8, "hidden"] : tensor<32x16xf32>
model.weight @layers.1.k from "layers.1.k" dims ["kv_heads" x 8, "hidden"] : tensor<16x16xf32>
model.weight @layers.1.v from "layers.1.v" dims ["kv_heads" x 8, "hidden"] : tensor<16x16xf32>
model.weight @layers.1.o from "layers.1.o" dims ["hidden", "q_heads" x 8] : tensor<16x32xf32>
model.kv_cache @layers.1.kv heads 2 head_dim 8 : f32
model.index_keys @layers.1.index heads 1 head_dim 4 : f32
model.weight @layers.2.norm from "layers.2.norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.2.qkv from "layers.2.qkv" dims ["q_heads" x 16, "hidden"] : tensor<64x16xf32>
model.weight @layers.2.o from "layers.2.o" dims ["hidden", "q_heads" x 8] : tensor<16x32xf32>
model.recurrent_state @layers.2.state heads 4 rows 4 cols 8 dim "q_heads"

func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>, %context: !model.context) -> tensor<?x32xf32> {
  %x0 = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x16xf32> loc("embed")

  %b0 = model.layer_boundary %x0 layer 0 : tensor<?x16xf32> loc("layers.0.boundary")
  %n0 = model.rms_norm %b0, @layers.0.norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.0.norm")
  %p0 = model.linear %n0, @layers.0.qkv : tensor<?x16xf32> -> tensor<?x64xf32> loc("layers.0.qkv")
  %y0 = model.decay_scan %p0, @layers.0.state, %context heads 4 rate 1.0 : tensor<?x64xf32> -> tensor<?x32xf32> loc("layers.0.scan")
  %o0 = model.linear %y0, @layers.0.o : tensor<?x32xf32> -> tensor<?x16xf32> loc("layers.0.o")
  %x1 = model.add %b0, %o0 : tensor<?x16xf32> loc("layers.0.residual")
  %b1 = model.layer_boundary %x1 layer 1 : tensor<?x16xf32> loc("layers.1.boundary")

  %n1 = model.rms_norm %b1, @layers.1.norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.1.norm")
  %q1 = model.linear %n1, @layers.1.q : tensor<?x16xf32> -> tensor<?x32xf32> loc("layers.1.q")
  %k1 = model.linear %n1, @layers.1.k : tensor<?x16xf32> -> tensor<?x16xf32> loc("layers.1.k")
  %v1 = model.linear %n1, @layers.1.v : tensor<?x16xf32> -> tensor<?x16xf32> loc("layers.1.v")
  %qr = model.rope %q1, %positions head_dim 8 rotary_dim 8 theta 1.0e4 : tensor<?x32xf32>, tensor<?xi32> loc("layers.1.rope")
  %kr = model.rope %k1, %positions head_dim 8 rotary_dim 8 theta 1.0e4 : tensor<?x16xf32>, tensor<?xi32> loc("layers.1.rope")
  model.kv_append %kr, %v1, @layers.1.kv, %context : tensor<?x16xf32> loc("layers.1.kv")
  %a1 = model.attention %qr, @layers.1.kv, %context scale 0.35 : tensor<?x32xf32> loc("layers.1.attention")
  %o1 = model.linear %a1, @layers.1.o : tensor<?x32xf32> -> tensor<?x16xf32> loc("layers.1.o")
  %x2 = model.add %b1, %o1 : tensor<?x16xf32> loc("layers.1.residual")
  %b2 = model.layer_boundary %x2 layer 2 : tensor<?x16xf32> loc("layers.2.boundary")

  %n2 = model.rms_norm %b2, @layers.2.norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.2.norm")
  %p2 = model.linear %n2, @layers.2.qkv : tensor<?x16xf32> -> tensor<?x64xf32> loc("layers.2.qkv")
  %y2 = model.decay_scan %p2, @layers.2.state, %context heads 4 rate 0.01 : tensor<?x64xf32> -> tensor<?x32xf32> loc("layers.2.scan")
  %o2 = model.linear %y2, @layers.2.o : tensor<?x32xf32> -> tensor<?x16xf32> loc("layers.2.o")
  %x3 = model.add %b2, %o2 : tensor<?x16xf32> loc("layers.2.residual")

  %last = model.select_rows %x3, %rows : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32> loc("last")
  %n = model.rms_norm %last, @norm eps 1.0e-6 : tensor<?x16xf32> loc("norm")
  %logits = model.linear %n, @lm_head : tensor<?x16xf32> -> tensor<?x32xf32> loc("lm_head")
  return %logits : tensor<?x32xf32>
}
}
