// RUN: saddle-opt %s --split-input-file --convert-to-engine --verify-diagnostics

// expected-error @+1 {{module has no 'model.limits' attribute}}
module {
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{expected (tokens, positions, rows, context) -> logits (and candidates) and 'model.phase'}}
  func.func @no_phase(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context) {
    return
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{expected (tokens, positions, rows, context) -> logits (and candidates) and 'model.phase'}}
  func.func @no_logits(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      attributes {model.phase = "decode"} {
    return
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{expected (tokens, positions, rows, context) -> logits (and candidates) and 'model.phase'}}
  func.func @arguments_of_other_types(%tokens: i32, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> i32 attributes {model.phase = "decode"} {
    return %tokens : i32
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  func.func @logits_without_an_op(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2xi32> attributes {model.phase = "decode"} {
    // expected-error @+1 {{expected the logits to be an op's result}}
    return %tokens : tensor<2xi32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  func.func @whole_weight(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    // expected-error @+1 {{weight @table is not a 'dist.weight_shard'; run dist-partition}}
    %x = model.embedding %tokens, @table : tensor<2xi32> -> tensor<2x32xf32>
    return %x : tensor<2x32xf32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @group_without_implementation(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{group "twice" has no implementation; run kernel-form-groups}}
    %y = kernel.group "twice" (%a = %x) : (tensor<2x32xf32>) -> tensor<2x32xf32> {
      %0 = model.add %a, %a : tensor<2x32xf32>
      %1 = model.add %0, %0 : tensor<2x32xf32>
      kernel.yield %1 : tensor<2x32xf32>
    }
    return %y : tensor<2x32xf32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @group_of_another_target(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{target cpu has no launch "add_rms_norm" for the ops of group "twice"; run kernel-form-groups for this target}}
    %y = kernel.group "twice" using "add_rms_norm" (%a = %x) : (tensor<2x32xf32>) -> tensor<2x32xf32> {
      %0 = model.add %a, %a : tensor<2x32xf32>
      %1 = model.add %0, %0 : tensor<2x32xf32>
      kernel.yield %1 : tensor<2x32xf32>
    }
    return %y : tensor<2x32xf32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @op_of_an_earlier_level(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{op 'dist.reshard' has no engine counterpart}}
    %y = dist.reshard %x from <@mesh, [_, _]> to <@mesh, [_, _]> : tensor<2x32xf32> -> tensor<2x32xf32>
    return %y : tensor<2x32xf32>
  }
}

// -----

// Ops that other passes remove say which.
module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  model.weight @n from "n" dims ["hidden"] : tensor<32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  dist.weight_shard @n.shard of [@n] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<32xf32>
  func.func @qk_norm(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{op 'model.qk_norm' has no engine counterpart; run model-decompose-qk-norm}}
    %q, %k = model.qk_norm %x, %x, @n.shard, @n.shard eps 1.0e-6 : tensor<2x32xf32>, tensor<2x32xf32>
    return %q : tensor<2x32xf32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @layer_boundary(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // expected-error @+1 {{op 'model.layer_boundary' has no engine counterpart; run dist-split-stages}}
    %y = model.layer_boundary %x layer 0 : tensor<2x32xf32>
    return %y : tensor<2x32xf32>
  }
}

// -----

// What the conversion does not know it must not drop.
module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{op 'builtin.module' has no engine counterpart}}
  module @inner {
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w from "w" dims ["out", "in"] stored <global_scale f32 [*, *] from "g"> : tensor<48x32xf8E4M3FN>
  // expected-error @+1 {{of 'f8E4M3FN' cannot be executed: a global scale needs a scale}}
  dist.weight_shard @global of [@w] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <global_scale f32 [*, *]> : tensor<48x32xf8E4M3FN>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w from "w" dims ["out", "in"] stored <offset 8> : tensor<48x32xf8E4M3FN>
  // expected-error @+1 {{of 'f8E4M3FN' cannot be executed: an offset needs unsigned integers}}
  dist.weight_shard @offset of [@w] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <offset 8> : tensor<48x32xf8E4M3FN>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xf32>
  model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] : tensor<6x32x24xf32>
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  model.weight @router from "router" dims ["router_experts", "hidden"] : tensor<6x32xf32>
  model.weight @bias from "bias" dims ["router_experts"] : tensor<6xf32>
  dist.weight_shard @w1.shard of [@w1] shardings [#dist.sharding<@mesh, [_, _, _]>] concat 0 : tensor<6x24x32xf32>
  dist.weight_shard @w2.shard of [@w2] shardings [#dist.sharding<@mesh, [_, _, _]>] concat 0 : tensor<6x32x24xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  dist.weight_shard @router.shard of [@router] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<6x32xf32>
  dist.weight_shard @bias.shard of [@bias] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<6xf32>
  func.func @gate_and_up_apart(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    %l = model.linear %x, @router.shard : tensor<2x32xf32> -> tensor<2x6xf32>
    %w, %e = model.router %l, @bias.shard routed_scale 2.0 : tensor<2x6xf32> -> tensor<2x2xf32>, tensor<2x2xi32>
    // expected-error @+1 {{expected gate and up in one weight; run dist-fuse-projections}}
    %y = model.experts %x, %w, %e gate_up [@w1.shard, @w1.shard] down @w2.shard : tensor<2x32xf32>, tensor<2x2xf32>, tensor<2x2xi32>
    return %y : tensor<2x32xf32>
  }
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w from "w" dims ["out", "in"] stored <packed i32 [0, 1, 2, 3]> : tensor<48x32xf8E4M3FN>
  // expected-error @+1 {{storage #model.storage<packed i32 [0, 1, 2, 3]> of 'f8E4M3FN' cannot be executed: only integers and numbers of four bits may share words}}
  dist.weight_shard @packed of [@w] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<48x32xf8E4M3FN>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w from "w" dims ["out", "in"] stored <zero f32 [1, 8] from "z"> : tensor<48x32xf8E4M3FN>
  // expected-error @+1 {{of 'f8E4M3FN' cannot be executed: a zero needs unsigned integers without an offset}}
  dist.weight_shard @zeros of [@w] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <zero f32 [1, 8]> : tensor<48x32xf8E4M3FN>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [1, *] divided from "s"> : tensor<48x32xf8E4M3FN>
  // expected-error @+1 {{of 'f8E4M3FN' cannot be executed: only a global scale may divide}}
  dist.weight_shard @divided of [@w] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [1, *] divided> : tensor<48x32xf8E4M3FN>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xf32>
  // expected-error @+1 {{a recipe cannot concatenate members of stacks}}
  dist.weight_shard @more_experts of [@w1, @w1] shardings [#dist.sharding<@mesh, [_, _, _]>, #dist.sharding<@mesh, [_, _, _]>] concat 0
      : tensor<12x24x32xf32>
}

// -----

module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @joined_view(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x32xf32> attributes {model.phase = "decode"} {
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    %a, %b = model.split %x : tensor<2x32xf32> -> tensor<2x16xf32>, tensor<2x16xf32>
    // expected-error @+1 {{operand 0 of 'model.join_bytes' is not written by a launch; expected the result of an op that has a buffer of its own}}
    %y = model.join_bytes %a : (tensor<2x16xf32>) -> tensor<2x64xui8>
    return %x : tensor<2x32xf32>
  }
}
