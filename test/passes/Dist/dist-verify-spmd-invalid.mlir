// RUN: saddle-opt %s --split-input-file --dist-verify-spmd --verify-diagnostics

dist.mesh @mesh ["tp" = 2]
func.func @reshard_is_left(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{reshard is left; run dist-lower-reshards}}
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{attribute 'dist.sharding' is left; run dist-partition}}
model.kv_cache @kv heads 2 head_dim 16 {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : bf16

// -----

dist.mesh @mesh ["tp" = 2]
func.func @sharding_is_left(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{attribute 'dist.shardings' is left; run dist-partition}}
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, [_, _]>]} : tensor<8x32xbf16>
  return
}

// -----

model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
func.func @whole_weight(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{op 'model.rms_norm' reads a whole weight; expected a 'dist.weight_shard'}}
  %y = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  return
}

// -----

// Symbols inside attributes are found too.
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] : tensor<6x32x24xbf16>
func.func @whole_stacks(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{op 'model.experts' reads a whole weight; expected a 'dist.weight_shard'}}
  %y = model.experts %x, %w, %e gate_up [@w1, @w1] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

func.func @a_region(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{op 'kernel.group' has a region; expected straight-line code}}
  %y = kernel.group "twice" (%a = %x) : (tensor<8x32xbf16>) -> tensor<8x32xbf16> {
    %0 = model.add %a, %a : tensor<8x32xbf16>
    %1 = model.add %0, %0 : tensor<8x32xbf16>
    kernel.yield %1 : tensor<8x32xbf16>
  }
  return
}

// -----

// expected-error @+1 {{function @declared has no body}}
func.func private @declared()

// -----

// expected-error @+1 {{function @blocks has more than one block; expected straight-line code}}
func.func @blocks() {
  return
^unreachable:
  return
}
