// RUN: saddle-opt %s --model-verify-static --split-input-file --verify-diagnostics

// expected-error @+1 {{function @nameless has no 'model.phase'}}
func.func @nameless() {
  return
}

// -----

// expected-error @+1 {{function @declared has no body}}
func.func private @declared() attributes {model.phase = "decode"}

// -----

// expected-error @+1 {{expected static shapes by now, but argument 1 of @dynamic_argument is 'tensor<?x32xf32>'}}
func.func @dynamic_argument(%x: tensor<8x32xf32>, %y: tensor<?x32xf32>) attributes {model.phase = "decode"} {
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] : tensor<32x32xf32>
func.func @dynamic_result(%x: tensor<8x32xf32>) attributes {model.phase = "decode"} {
  // expected-error @+1 {{expected static shapes by now, but got 'tensor<?x32xf32>'}}
  %y = model.linear %x, @w : tensor<8x32xf32> -> tensor<?x32xf32>
  return
}

// -----

model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<64xbf16>
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xbf16>
func.func @whole_norm(%q: tensor<8x64xf32>, %k: tensor<8x32xf32>) attributes {model.phase = "decode"} {
  // expected-error @+1 {{op 'model.qk_norm' must be decomposed by now}}
  %qn, %kn = model.qk_norm %q, %k, @q_norm, @k_norm eps 0.5 : tensor<8x64xf32>, tensor<8x32xf32>
  return
}
