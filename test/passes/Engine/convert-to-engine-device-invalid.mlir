// RUN: saddle-opt %s --split-input-file --convert-to-engine=target=sm_90a --verify-diagnostics

// A group that says what launches it, but holds other ops.
module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @group_that_is_no_match(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{target sm_90a has no launch "add_rms_norm" for the ops of group "twice"; run kernel-form-groups for this target}}
    %y = kernel.group "twice" using "add_rms_norm" (%a = %x) : (tensor<2x32xf32>) -> tensor<2x32xf32> {
      %0 = model.add %a, %a : tensor<2x32xf32>
      %1 = model.add %0, %0 : tensor<2x32xf32>
      kernel.yield %1 : tensor<2x32xf32>
    }
    return %y : tensor<2x32xf32>
  }
}

// -----

// A result that no step computes has no place among the launch's outputs.
module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>
  dist.weight_shard @norm.shard of [@norm] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<32xf32>
  func.func @group_that_yields_an_input(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{yields one of its inputs}}
    %y, %s, %z = kernel.group "add_rms_norm" using "add_rms_norm" (%a = %x) : (tensor<2x32xf32>) -> (tensor<2x32xf32>, tensor<2x32xf32>, tensor<2x32xf32>) {
      %0 = model.add %a, %a : tensor<2x32xf32>
      %1 = model.rms_norm %0, @norm.shard eps 1.0e-6 : tensor<2x32xf32>
      kernel.yield %a, %0, %1 : tensor<2x32xf32>, tensor<2x32xf32>, tensor<2x32xf32>
    }
    return %z : tensor<2x32xf32>
  }
}
