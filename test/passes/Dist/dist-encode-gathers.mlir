// RUN: saddle-opt %s --split-input-file --dist-encode-gathers | FileCheck %s
// RUN: saddle-opt %s --split-input-file --dist-encode-gathers=target=sm_90a | FileCheck %s --check-prefixes=CHECK,SM90
// RUN: not saddle-opt %s --split-input-file --dist-encode-gathers=target=abacus 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: target "abacus" is not known

// 32 columns in groups of 16: 32 bytes of codes, 2 factors of 4 bytes up to the
// next multiple of 16, so 48 bytes for 64.

dist.mesh @mesh ["tp" = 2]
model.weight @q from "q" dims ["q_heads", "hidden"] stored <scale f32 [16, 16] from "q_scale"> : tensor<64x32xf8E4M3FN>
dist.weight_shard @q.shard of [@q] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [16, 16]> : tensor<32x32xf8E4M3FN>

// CHECK-LABEL: func.func @one_reader
// CHECK-SAME: %[[N:.*]]: tensor<4x32xbf16>
func.func @one_reader(%n: tensor<4x32xbf16>) -> tensor<8x32xbf16> attributes {model.phase = "prefill"} {
  // CHECK-NEXT: %[[C:.*]], %[[F:.*]] = model.encode_rows %[[N]] group 16 : tensor<4x32xbf16> -> tensor<4x32xf8E4M3FN>, tensor<4x2xf32>
  // CHECK-NEXT: %[[OWN:.*]] = model.join_bytes %[[C]], %[[F]] : {{.*}} -> tensor<4x48xui8>
  // CHECK-NEXT: %[[ALL:.*]] = dist.all_gather %[[OWN]] dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x48xui8> -> tensor<8x48xui8>
  // CHECK-NEXT: %[[P:.*]]:2 = model.split_bytes %[[ALL]] : tensor<8x48xui8> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>
  // CHECK-NEXT: %[[Y:.*]] = model.linear_of_codes %[[P]]#0, %[[P]]#1, @q.shard act_group 16 : {{.*}} -> tensor<8x32xbf16>
  // CHECK-NEXT: return %[[Y]]
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %y = model.linear %x, @q.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %y : tensor<8x32xbf16>
}

// Decodes keep their rows.
// CHECK-LABEL: func.func @decode
// CHECK-NOT: encode_rows
func.func @decode(%n: tensor<4x32xbf16>) -> tensor<8x32xbf16> attributes {model.phase = "decode"} {
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %y = model.linear %x, @q.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %y : tensor<8x32xbf16>
}

// So does whoever has a reader that does not round, rounds in other groups, or
// gathers columns.
// CHECK-LABEL: func.func @readers_differ
// CHECK-NOT: encode_rows
func.func @readers_differ(%n: tensor<4x32xbf16>, %m: tensor<8x16xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>) attributes {model.phase = "prefill"} {
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %a = model.linear %x, @q.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %b = model.linear %x, @q.shard act_group 32 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %z = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %c = model.linear %z, @q.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %d = model.add %z, %c : tensor<8x32xbf16>
  %w = dist.all_gather %m dim 1 over <@mesh, ["tp"]> : tensor<8x16xbf16> -> tensor<8x32xbf16>
  %e = model.linear %w, @q.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %a, %b, %d, %e : tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>
}

// -----

// Groups of whole rows, as scales of channels have them, are for the CPU alone:
// sm_90a has no kernel that takes such codes.
dist.mesh @mesh ["tp" = 2]
model.weight @q from "q" dims ["q_heads", "hidden"] stored <scale f32 [1, *] from "q_scale"> : tensor<64x1024xf8E4M3FN>
dist.weight_shard @q.shard of [@q] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [1, *]> : tensor<32x1024xf8E4M3FN>

// CHECK-LABEL: func.func @whole_rows
func.func @whole_rows(%n: tensor<4x1024xbf16>) -> tensor<8x32xbf16> attributes {model.phase = "prefill"} {
  // SM90-NOT: encode_rows
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x1024xbf16> -> tensor<8x1024xbf16>
  %y = model.linear %x, @q.shard act_group 1024 : tensor<8x1024xbf16> -> tensor<8x32xbf16>
  return %y : tensor<8x32xbf16>
}

// -----

// What experts are asked for goes with the rows: 48 bytes, then two weights of
// 4 bytes and two numbers, 16 bytes each.
dist.mesh @mesh ["tp" = 2]
model.weight @w13 from "{}.w13" dims ["experts", "out", "hidden"] stored <scale f32 [16, 16] from "{}.w13_scale"> : tensor<6x64x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "in"] stored <scale f32 [16, 16] from "{}.w2_scale"> : tensor<6x32x32xf8E4M3FN>
dist.weight_shard @w13.shard of [@w13] shardings [#dist.sharding<@mesh, [_, _, _]>] concat 1 stored <scale f32 [16, 16]> : tensor<6x64x32xf8E4M3FN>
dist.weight_shard @w2.shard of [@w2] shardings [#dist.sharding<@mesh, [_, _, _]>] concat 0 stored <scale f32 [16, 16]> : tensor<6x32x32xf8E4M3FN>

// CHECK-LABEL: func.func @experts
// CHECK-SAME: %[[N:.*]]: tensor<4x32xbf16>, %[[W:.*]]: tensor<4x2xf32>, %[[E:.*]]: tensor<4x2xi32>
func.func @experts(%n: tensor<4x32xbf16>, %w: tensor<4x2xf32>, %e: tensor<4x2xi32>) -> tensor<8x32xbf16> attributes {model.phase = "prefill"} {
  // CHECK-NEXT: %[[C:.*]], %[[F:.*]] = model.encode_rows %[[N]] group 16
  // CHECK-NEXT: %[[OWN:.*]] = model.join_bytes %[[C]], %[[F]], %[[W]], %[[E]] : {{.*}} -> tensor<4x80xui8>
  // CHECK-NEXT: %[[ALL:.*]] = dist.all_gather %[[OWN]] dim 0 {{.*}} -> tensor<8x80xui8>
  // CHECK-NEXT: %[[P:.*]]:4 = model.split_bytes %[[ALL]] : tensor<8x80xui8> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK-NEXT: model.experts_of_codes %[[P]]#0, %[[P]]#1, %[[P]]#2, %[[P]]#3 gate_up @w13.shard down @w2.shard act_group 16 {dist.expert_start = {{.*}}} :
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %gw = dist.all_gather %w dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xf32> -> tensor<8x2xf32>
  %ge = dist.all_gather %e dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xi32> -> tensor<8x2xi32>
  %y = model.experts %x, %gw, %ge gate_up [@w13.shard] down @w2.shard act_group 16 {dist.expert_start = #dist.rank_value<0 + (rank div 1 mod 2) * 3>} : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return %y : tensor<8x32xbf16>
}

// Not where others read what is chosen: two gathers are left.
// CHECK-LABEL: func.func @choices_stay
func.func @choices_stay(%n: tensor<4x32xbf16>, %w: tensor<4x2xf32>, %e: tensor<4x2xi32>) -> (tensor<8x32xbf16>, tensor<8x2xf32>) attributes {model.phase = "prefill"} {
  // CHECK: model.join_bytes %{{.*}}, %{{.*}} : (tensor<4x32xf8E4M3FN>, tensor<4x2xf32>) -> tensor<4x48xui8>
  // CHECK: dist.all_gather {{.*}} -> tensor<8x2xf32>
  // CHECK: dist.all_gather {{.*}} -> tensor<8x2xi32>
  // CHECK: model.experts_of_codes
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %gw = dist.all_gather %w dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xf32> -> tensor<8x2xf32>
  %ge = dist.all_gather %e dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xi32> -> tensor<8x2xi32>
  %y = model.experts %x, %gw, %ge gate_up [@w13.shard] down @w2.shard act_group 16 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return %y, %gw : tensor<8x32xbf16>, tensor<8x2xf32>
}

// Nor where somebody reads the rows before experts are chosen: rows come first.
// CHECK-LABEL: func.func @read_before_choices
func.func @read_before_choices(%n: tensor<4x32xbf16>, %w: tensor<4x2xf32>, %e: tensor<4x2xi32>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) attributes {model.phase = "prefill"} {
  // CHECK: dist.all_gather {{.*}} -> tensor<8x48xui8>
  // CHECK: model.linear_of_codes
  // CHECK: dist.all_gather {{.*}} -> tensor<8x2xf32>
  // CHECK: dist.all_gather {{.*}} -> tensor<8x2xi32>
  // CHECK: model.experts_of_codes
  %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %a = model.linear %x, @dense.shard act_group 16 : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %gw = dist.all_gather %w dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xf32> -> tensor<8x2xf32>
  %ge = dist.all_gather %e dim 0 over <@mesh, ["tp"]> rows shares : tensor<4x2xi32> -> tensor<8x2xi32>
  %y = model.experts %x, %gw, %ge gate_up [@w13.shard] down @w2.shard act_group 16 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return %a, %y : tensor<8x32xbf16>, tensor<8x32xbf16>
}
model.weight @dense from "dense" dims ["out", "hidden"] stored <scale f32 [16, 16] from "dense_scale"> : tensor<32x32xf8E4M3FN>
dist.weight_shard @dense.shard of [@dense] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [16, 16]> : tensor<32x32xf8E4M3FN>
