// A model by hand: three dense layers with the clamped SwiGLU, one of them with
// attention. Its limit is low, so that it clamps. No importer makes the
// activation yet. Behind the last norm is a second head, so that on one rank the
// logits are a part of a product and are copied. The widths of the layers are
// named after heads, because every split of them is allowed.
module attributes {
  model.config = {architecture = "Dense", name = "dense", hidden_size = 16, num_hidden_layers = 3, num_attention_heads = 4,
      num_key_value_heads = 2, head_dim = 8, intermediate_size = 48, num_local_experts = 4, num_experts_per_tok = 2, vocab_size = 32,
      bos_token_id = -1, compute_dtype = "f32", kv_dtype = "f32", fingerprint = "00000000000000000000000000000000", eos_token_ids = array<i64>},
  model.limits = {max_batch = 4, max_seq_len = 40, page_size = 4, prefill_chunk = 16}
} {
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<32x16xf32>
model.weight @lm_head from "lm_head" dims ["vocab", "hidden"] : tensor<32x16xf32>
model.weight @spare from "spare" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @norm from "norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.0.mlp_norm from "layers.0.mlp_norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.0.gate from "layers.0.gate" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.0.up from "layers.0.up" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.0.down from "layers.0.down" dims ["hidden", "q_heads" x 12] : tensor<16x48xf32>
model.weight @layers.1.norm from "layers.1.norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.1.q from "layers.1.q" dims ["q_heads" x 8, "hidden"] : tensor<32x16xf32>
model.weight @layers.1.k from "layers.1.k" dims ["kv_heads" x 8, "hidden"] : tensor<16x16xf32>
model.weight @layers.1.v from "layers.1.v" dims ["kv_heads" x 8, "hidden"] : tensor<16x16xf32>
model.weight @layers.1.o from "layers.1.o" dims ["hidden", "q_heads" x 8] : tensor<16x32xf32>
model.kv_cache @layers.1.kv heads 2 head_dim 8 : f32
model.weight @layers.1.mlp_norm from "layers.1.mlp_norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.1.gate from "layers.1.gate" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.1.up from "layers.1.up" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.1.down from "layers.1.down" dims ["hidden", "q_heads" x 12] : tensor<16x48xf32>
model.weight @layers.2.mlp_norm from "layers.2.mlp_norm" dims ["hidden"] : tensor<16xf32>
model.weight @layers.2.gate from "layers.2.gate" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.2.up from "layers.2.up" dims ["q_heads" x 12, "hidden"] : tensor<48x16xf32>
model.weight @layers.2.down from "layers.2.down" dims ["hidden", "q_heads" x 12] : tensor<16x48xf32>

func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>, %context: !model.context) -> tensor<?x32xf32> {
  %x0 = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x16xf32> loc("embed")

  %b0 = model.layer_boundary %x0 layer 0 : tensor<?x16xf32> loc("layers.0.boundary")
  %m0 = model.rms_norm %b0, @layers.0.mlp_norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.0.mlp_norm")
  %g0 = model.linear %m0, @layers.0.gate : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.0.gate")
  %u0 = model.linear %m0, @layers.0.up : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.0.up")
  %h0 = model.swiglu_oai %g0, %u0 alpha 1.702 limit 0.5 : tensor<?x48xf32> loc("layers.0.act")
  %d0 = model.linear %h0, @layers.0.down : tensor<?x48xf32> -> tensor<?x16xf32> loc("layers.0.down")
  %x1 = model.add %b0, %d0 : tensor<?x16xf32> loc("layers.0.mlp_residual")

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
  %y1 = model.add %b1, %o1 : tensor<?x16xf32> loc("layers.1.residual")
  %m1 = model.rms_norm %y1, @layers.1.mlp_norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.1.mlp_norm")
  %g1 = model.linear %m1, @layers.1.gate : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.1.gate")
  %u1 = model.linear %m1, @layers.1.up : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.1.up")
  %h1 = model.swiglu_oai %g1, %u1 alpha 1.702 limit 0.5 : tensor<?x48xf32> loc("layers.1.act")
  %d1 = model.linear %h1, @layers.1.down : tensor<?x48xf32> -> tensor<?x16xf32> loc("layers.1.down")
  %x2 = model.add %y1, %d1 : tensor<?x16xf32> loc("layers.1.mlp_residual")

  %b2 = model.layer_boundary %x2 layer 2 : tensor<?x16xf32> loc("layers.2.boundary")
  %m2 = model.rms_norm %b2, @layers.2.mlp_norm eps 1.0e-6 : tensor<?x16xf32> loc("layers.2.mlp_norm")
  %g2 = model.linear %m2, @layers.2.gate : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.2.gate")
  %u2 = model.linear %m2, @layers.2.up : tensor<?x16xf32> -> tensor<?x48xf32> loc("layers.2.up")
  %h2 = model.swiglu_oai %g2, %u2 alpha 1.702 limit 0.5 : tensor<?x48xf32> loc("layers.2.act")
  %d2 = model.linear %h2, @layers.2.down : tensor<?x48xf32> -> tensor<?x16xf32> loc("layers.2.down")
  %x3 = model.add %b2, %d2 : tensor<?x16xf32> loc("layers.2.mlp_residual")

  %last = model.select_rows %x3, %rows : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32> loc("last")
  %n = model.rms_norm %last, @norm eps 1.0e-6 : tensor<?x16xf32> loc("norm")
  %logits = model.linear %n, @lm_head : tensor<?x16xf32> -> tensor<?x32xf32> loc("lm_head")
  %spare = model.linear %n, @spare : tensor<?x16xf32> -> tensor<?x48xf32> loc("spare")
  return %logits : tensor<?x32xf32>
}
}
