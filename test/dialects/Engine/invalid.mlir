// RUN: saddle-opt %s -split-input-file -verify-diagnostics

// One module for each constraint of EngineOps.td, named after it. Further
// cases of one constraint have a word behind the id.

//===----------------------------------------------------------------------===//
// Module-level symbols
//===----------------------------------------------------------------------===//

module @source_c1 {
  // expected-error @+1 {{expected a static shape, but got 'tensor<?xf32>'}}
  engine.source @s from "s" : tensor<?xf32>
}

// -----

module @source_c2 {
  // expected-error @+1 {{expected 1 '{}' in the name of a source with stack 6, but got "s"}}
  engine.source @s from "s" stack 6 : tensor<8xf32>
}

// -----

module @source_c2_single {
  // expected-error @+1 {{expected 0 '{}' in the name of a source with stack 0, but got "s.{}"}}
  engine.source @s from "s.{}" : tensor<8xf32>
}

// -----

module @source_c2_negative {
  // expected-error @+1 {{expected a stack of at least 0, but got -1}}
  engine.source @s from "s" stack -1 : tensor<8xf32>
}

// -----

module @arena_c1 {
  // expected-error @+1 {{expected bytes of at least 0 and an alignment that is a power of two, but got 4096 and 48}}
  engine.arena @a pages bytes 4096 align 48
}

// -----

module @arena_c1_bytes {
  // expected-error @+1 {{expected bytes of at least 0 and an alignment that is a power of two, but got -1 and 64}}
  engine.arena @a pages bytes -1 align 64
}

// -----

module @source_c3 {
  // expected-error @+1 {{@w is not an 'engine.source'}}
  engine.source @s from "s" companion scale of @w : tensor<8xf32>
}

// -----

module @source_c3_itself {
  // expected-error @+1 {{expected another source of which it is a companion}}
  engine.source @s from "s" companion scale of @s : tensor<8xf32>
}

// -----

module @source_c4 {
  // expected-error @+1 {{expected a tensor of 4 x 24 to be unpacked as #engine.unpacking<packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 24 x 16>, but got 'tensor<5x24xi32>'}}
  engine.source @s from "s" unpacked <packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 24 x 16> : tensor<5x24xi32>
}

// -----

module @source_c5 {
  // expected-error @+1 {{expected an ignored vector of i32 with a group of at least 1, but got group 4 of 'tensor<8xi32>'}}
  engine.source @s from "s" group 4 : tensor<8xi32>
}

// -----

module @source_c5_zero {
  // expected-error @+1 {{expected an ignored vector of i32 with a group of at least 1, but got group 0 of 'tensor<8xi32>'}}
  engine.source @s from "s" ignored "x" group 0 : tensor<8xi32>
}

// -----

module @source_c5_matrix {
  // expected-error @+1 {{expected an ignored vector of i32 with a group of at least 1, but got group 4 of 'tensor<2x8xi32>'}}
  engine.source @s from "s" ignored "x" group 4 : tensor<2x8xi32>
}

// -----

module @source_c6 {
  // expected-error @+1 {{expected a source that is ignored, but got one that is read and must be zero}}
  engine.source @s from "s" zero : tensor<8x1xf32>
}

// -----

module @source_c7 {
  // expected-error @+1 {{expected floats of a companion, divided by something positive, but got 'tensor<8x1xf32>' over 7}}
  engine.source @s from "s" over 7 : tensor<8x1xf32>
}

// -----

module @source_c5_floats {
  // expected-error @+1 {{expected an ignored vector of i32 with a group of at least 1, but got group 4 of 'tensor<8xf32>'}}
  engine.source @s from "s" ignored "x" group 4 : tensor<8xf32>
}

// -----

module @kernel_c1_storage {
  // expected-error @+1 {{expected the storages of weights, with numbers for blocks and no sources, but got [#model.storage<scale f32 [1, *]>]}}
  engine.kernel @k op "linear" {act_group = 0, storage = [#model.storage<scale f32 [1, *]>]}
}

// -----

module @kernel_c1_storage_source {
  // expected-error @+1 {{expected the storages of weights, with numbers for blocks and no sources, but got [#model.storage<scale f32 [1, 8] from "s">]}}
  engine.kernel @k op "linear" {act_group = 0, storage = [#model.storage<scale f32 [1, 8] from "s">]}
}

// -----

module @kernel_c1_storage_kind {
  // expected-error @+1 {{expected the storages of weights, with numbers for blocks and no sources, but got 8 : i64}}
  engine.kernel @k op "linear" {storage = 8}
}

// -----

module @kernel_c1 {
  // expected-error @+1 {{expected attribute "mode" to be an integer, a float or a #dist.rank_value, but got "fast"}}
  engine.kernel @k op "add" {mode = "fast"}
}

// -----

module @kernel_c2 {
  // expected-error @+1 {{@nothing is not an 'engine.module'}}
  engine.kernel @k op "add" {} functions [#engine.function<@nothing, "f" grid [1, 1, 1] block 32 shared 0>]
}

// -----

module @kernel_c3 {
  // expected-error @+1 {{expected at least one function}}
  engine.kernel @k op "add" {} functions []
}

// -----

module @kernel_c4 {
  // expected-error @+1 {{expected a body of at least two steps and no attributes beside it, but got 1 and {}}}
  engine.kernel @k op "add" {} body [#engine.step<"add"(0, 1, 2) {}>]
}

// -----

module @kernel_c4_attributes {
  // expected-error @+1 {{expected a body of at least two steps and no attributes beside it, but got 2 and {eps = 1}}
  engine.kernel @k op "k" {eps = 1} body [#engine.step<"add"(0, 1, 2) {}>, #engine.step<"add"(2, 1, 3) {}>]
}

// -----

module @kernel_c1_of_a_step {
  // expected-error @+1 {{expected attribute "eps" to be an integer, a float or a #dist.rank_value, but got "small"}}
  engine.kernel @k op "k" {} body [#engine.step<"add"(0, 1, 2) {eps = "small"}>, #engine.step<"add"(2, 1, 3) {}>]
}

// -----

module @kernel_c5 {
  // expected-error @+1 {{expected temporaries beside a body only}}
  engine.kernel @k op "add" {} temporaries [tensor<8xf32>]
}

// -----

module @kernel_c5_shape {
  // expected-error @+1 {{expected temporaries to be tensors of a static shape, but got 'tensor<?xf32>'}}
  engine.kernel @k op "k" {} body [#engine.step<"add"(0, 1, 2) {}>, #engine.step<"add"(2, 1, 3) {}>] temporaries [tensor<?xf32>]
}

// -----

module @module_c1 {
  // expected-error @+1 {{expected a source}}
  engine.module @m source ""
}

// -----

module @rank_groups_c1 {
  // expected-error @+1 {{expected a size that divides 4 ranks, but got 3}}
  engine.rank_groups @g axes "tp" size 3 ranks [0, 1, 2, 3]
}

// -----

module @rank_groups_c1_zero {
  // expected-error @+1 {{expected a size that divides 4 ranks, but got 0}}
  engine.rank_groups @g axes "tp" size 0 ranks [0, 1, 2, 3]
}

// -----

module @rank_groups_c2 {
  // expected-error @+1 {{expected ranks 0 to 3, each once, but got 1 twice}}
  engine.rank_groups @g axes "tp" size 2 ranks [0, 1, 1, 3]
}

// -----

module @rank_groups_c2_range {
  // expected-error @+1 {{expected ranks 0 to 3, each once, but got 4}}
  engine.rank_groups @g axes "tp" size 2 ranks [0, 1, 2, 4]
}

// -----

module @fusion_c1 {
  // expected-error @+1 {{expected at least two ops, but got 1}}
  engine.fusion @f ops ["model.add"]
}

// -----

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

module @program_c1 {
  // expected-error @+1 {{expected only weights, states and entries}}
  engine.program @stage_0 stage 0 {
    // expected-note @+1 {{found 'engine.arena' here}}
    engine.arena @a pages bytes 0 align 64
  }
}

// -----

module @program_c2 {
  // expected-error @+1 {{expected a stage of at least 0}}
  engine.program @stage_0 stage -1 {
  }
}

// -----

module @program_c3 {
  engine.program @main_0 stage 0 {
  }
  // expected-note @+1 {{the other one}}
  engine.program @draft_0 of "draft" stage 0 {
  }
  engine.program @draft_1 of "draft" stage 1 {
  }
  // expected-error @+1 {{is "draft" of stage 0, as another one before it}}
  engine.program @again of "draft" stage 0 {
  }
}

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>
module @weight_c1 {
  engine.arena @a pages bytes 4096 align 256
  engine.source @src from "src" : tensor<32xf32>
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected arena @a to be constant, but it is pages}}
    engine.weight @w in @a pieces [#piece] : memref<32xf32>
  }
}

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>
module @weight_c1_arena {
  engine.source @src from "src" : tensor<32xf32>
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{@a is not an 'engine.arena'}}
    engine.weight @w in @a pieces [#piece] : memref<32xf32>
  }
}

// -----

module @weight_c2 {
  engine.arena @a constant bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected at least one piece}}
    engine.weight @w in @a pieces [] : memref<32xf32>
  }
}

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>
module @weight_c2_source {
  engine.arena @a constant bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{@src is not an 'engine.source'}}
    engine.weight @w in @a pieces [#piece] : memref<32xf32>
  }
}

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>
module @weight_c3 {
  engine.arena @a constant bytes 4096 align 256
  engine.source @src from "src" : tensor<32xf32>
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected a static shape and an identity layout, but got 'memref<?xf32>'}}
    engine.weight @w in @a pieces [#piece] : memref<?xf32>
  }
}

// -----

module @state_c1 {
  engine.arena @a transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected arena @a to be pages or sequences or exchange, but it is transient}}
    engine.state @s kind paged in @a : memref<1x16x2x8xbf16>
  }
}

// -----

module @state_c2 {
  engine.arena @a pages bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected a static shape and an identity layout, but got 'memref<?x16x2x8xbf16>'}}
    engine.state @s kind paged in @a : memref<?x16x2x8xbf16>
  }
}

// -----

module @state_c3 {
  engine.arena @a pages bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected kind paged or index_keys in arena @a of pages, but got sequence}}
    engine.state @s kind sequence in @a : memref<1x16x2x8xbf16>
  }
}

// -----

module @state_c3_sequences {
  engine.arena @a sequences bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected kind sequence in arena @a of sequences, but got paged}}
    engine.state @s kind paged in @a : memref<1x2x8x8xf32>
  }
}

// -----

module @state_c3_exchange {
  engine.arena @a exchange bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected no kind in arena @a of exchange, but got paged}}
    engine.state @s kind paged in @a : memref<1x64xi8>
  }
}

// -----

module @state_c3_none {
  engine.arena @a pages bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected kind paged or index_keys in arena @a of pages, but got none}}
    engine.state @s in @a : memref<1x16x2x8xbf16>
  }
}

// -----

module @state_c4 {
  engine.arena @a pages bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected one page or sequence in dimension 0, but got 'memref<4x16x2x8xbf16>'}}
    engine.state @s kind paged in @a : memref<4x16x2x8xbf16>
  }
}

// -----

module @entry_c1 {
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected positive tokens and rows, but got 0 and 8}}
    engine.entry @e decode tokens 0 rows 8 {
    }
  }
}

// -----

module @entry_c1_rows {
  engine.program @stage_0 stage 0 {
    // expected-error @+1 {{expected positive tokens and rows, but got 8 and 0}}
    engine.entry @e decode tokens 8 rows 0 {
    }
  }
}

// -----

module @entry_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      engine.bind "x", %x : memref<8x32xf32>
      // expected-error @+1 {{binding "x" stands twice}}
      engine.bind "x", %x : memref<8x32xf32>
    }
  }
}

// -----

module @entry_c3 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected 'engine.output' to be a string on a command, but got "logits"}}
      engine.bind "x", %x {engine.output = "logits"} : memref<8x32xf32>
    }
  }
}

// -----

module @entry_parent {
  // expected-error @+1 {{expects parent op 'engine.program'}}
  engine.entry @e decode tokens 8 rows 8 {
  }
}

// -----

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

module @buffer_c1 {
  engine.arena @a constant bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{expected arena @a to be transient or io, but it is constant}}
      %x = engine.buffer in @a : memref<8x32xf32>
    }
  }
}

// -----

module @buffer_c1_arena {
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{@a is not an 'engine.arena'}}
      %x = engine.buffer in @a : memref<8x32xf32>
    }
  }
}

// -----

module @buffer_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{expected a static shape and an identity layout, but got 'memref<?x32xf32>'}}
      %x = engine.buffer in @act : memref<?x32xf32>
    }
  }
}

// -----

module @buffer_c2_layout {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{expected a static shape and an identity layout, but got 'memref<8x32xf32, strided<[64, 1]>>'}}
      %x = engine.buffer in @act : memref<8x32xf32, strided<[64, 1]>>
    }
  }
}

// -----

module @global_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{@act is not an 'engine.weight' or 'engine.state'}}
      %x = engine.global @act : memref<8x32xf32>
    }
  }
}

// -----

module @global_c1_type {
  engine.arena @kv pages bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    // expected-note @+1 {{defined here}}
    engine.state @s kind paged in @kv : memref<1x16x2x8xbf16>
    engine.entry @e decode tokens 8 rows 8 {
      // expected-error @+1 {{expected type 'memref<1x16x2x8xbf16>' of @s, but got 'memref<1x16x2x8xf32>'}}
      %x = engine.global @s : memref<1x16x2x8xf32>
    }
  }
}

// -----

module @view_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected rank 2, the same rows and element type, or bytes, but got 'memref<8x32xf32>' and 'memref<4x16xf32, strided<[32, 1]>>'}}
      %v = engine.view %x column 0 : memref<8x32xf32> -> memref<4x16xf32, strided<[32, 1]>>
    }
  }
}

// -----

module @view_c1_element {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected rank 2, the same rows and element type, or bytes, but got 'memref<8x32xf32>' and 'memref<8x16xbf16, strided<[32, 1]>>'}}
      %v = engine.view %x column 0 : memref<8x32xf32> -> memref<8x16xbf16, strided<[32, 1]>>
    }
  }
}

// -----

module @view_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected columns inside 32, but got 16 from 24 on}}
      %v = engine.view %x column 24 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1], offset: 24>>
    }
  }
}

// -----

module @view_c3 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected the source's strides and offset 16, in elements of the source, but got 'memref<8x16xf32, strided<[32, 1], offset: 8>>'}}
      %v = engine.view %x column 16 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1], offset: 8>>
    }
  }
}

// -----

// 16 bytes on is element 4 of f32, and rows of 48 bytes are 12 elements apart.
module @view_c3_bytes {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x48xui8>
      %good = engine.view %x column 16 : memref<8x48xui8> -> memref<8x8xf32, strided<[12, 1], offset: 4>>
      // expected-error @+1 {{expected the source's strides and offset 16, in elements of the source, but got 'memref<8x8xf32, strided<[12, 1], offset: 3>>'}}
      %v = engine.view %x column 16 : memref<8x48xui8> -> memref<8x8xf32, strided<[12, 1], offset: 3>>
    }
  }
}

// -----

module @view_c2_bytes {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x48xui8>
      // expected-error @+1 {{expected columns inside 48, but got 36 from 16 on}}
      %v = engine.view %x column 16 : memref<8x48xui8> -> memref<8x9xf32, strided<[12, 1], offset: 4>>
    }
  }
}

// -----

module @view_c3_strides {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected the source's strides and offset 0, in elements of the source, but got 'memref<8x16xf32>'}}
      %v = engine.view %x column 0 : memref<8x32xf32> -> memref<8x16xf32>
    }
  }
}

// -----

module @bind_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %v = engine.view %x column 0 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1]>>
      // expected-error @+1 {{expected an 'engine.buffer'}}
      engine.bind "x", %v : memref<8x16xf32, strided<[32, 1]>>
    }
  }
}

// -----

//===----------------------------------------------------------------------===//
// Commands
//===----------------------------------------------------------------------===//

module @launch_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@k is not an 'engine.kernel'}}
      engine.launch @k(%x) outs(%x) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.kernel @k op "add" {}
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@f is not an 'engine.fusion'}}
      engine.launch @k(%x) outs(%x) tokens at "p" fusion @f : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c3 {
  engine.arena @act transient bytes 4096 align 256
  engine.kernel @k op "add" {}
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected at least one input and one output, but got 1 and 0}}
      "engine.launch"(%x) <{kernel = @k, extent = #engine<extent tokens>, place = "p", operandSegmentSizes = array<i32: 1, 0, 0, 0>}> : (memref<8x32xf32>) -> ()
    }
  }
}

// -----

module @launch_c3_inputs {
  engine.arena @act transient bytes 4096 align 256
  engine.kernel @k op "add" {}
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected at least one input and one output, but got 0 and 1}}
      "engine.launch"(%x) <{kernel = @k, extent = #engine<extent tokens>, place = "p", operandSegmentSizes = array<i32: 0, 1, 0, 0>}> : (memref<8x32xf32>) -> ()
    }
  }
}

// -----

module @collective_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@tp is not an 'engine.rank_groups'}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@f is not an 'engine.fusion'}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens at "p" fusion @f : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c3 {
  engine.arena @act transient bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected shapes of all_gather over groups of 2, but got 'memref<8x32xf32>' to 'memref<8x32xf32>'}}
      engine.collective all_gather %x to %x over @tp dim 1 tokens at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c3_all_reduce {
  engine.arena @act transient bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %y = engine.buffer in @act : memref<8x16xf32>
      // expected-error @+1 {{expected shapes of all_reduce_sum over groups of 2, but got 'memref<8x32xf32>' to 'memref<8x16xf32>'}}
      engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens at "p" : memref<8x32xf32> to memref<8x16xf32>
    }
  }
}

// -----

module @collective_c3_reduce_scatter {
  engine.arena @act transient bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %y = engine.buffer in @act : memref<8x16xf32>
      // 32 columns over 2 ranks are 16, not the other way round.
      // expected-error @+1 {{expected shapes of reduce_scatter_sum over groups of 2, but got 'memref<8x16xf32>' to 'memref<8x32xf32>'}}
      engine.collective reduce_scatter_sum %y to %x over @tp dim 1 tokens at "p" : memref<8x16xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c3_dim {
  engine.arena @act transient bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected dim below 2, but got 2}}
      engine.collective all_gather %x to %x over @tp dim 2 tokens at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @copy_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %y = engine.buffer in @act : memref<8x16xf32>
      // expected-error @+1 {{expected equal shapes and element types, but got 'memref<8x32xf32>' and 'memref<8x16xf32>'}}
      engine.copy %x to %y tokens at "p" : memref<8x32xf32> to memref<8x16xf32>
    }
  }
}

// -----

module @launch_c4 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.buffer in @act : memref<64xf32>
      // expected-error @+1 {{expected the workspace to be an 'engine.buffer', a vector of i8, but got 'memref<64xf32>'}}
      engine.launch @add(%x, %x) outs(%x) workspace(%w : memref<64xf32>) tokens at "p" : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c5 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@ep is not an 'engine.rank_groups'}}
      engine.launch @add(%x) outs(%x) over @ep tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c6 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %e = engine.global @exchange : memref<64xi8>
      // expected-error @+1 {{expected groups beside exchange memory}}
      engine.launch @add(%x) outs(%x) exchange(%e : memref<64xi8>) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c6_arena {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %e = engine.global @cache : memref<1xi8>
      // expected-error @+1 {{expected arena @kv to be exchange, but it is pages}}
      engine.launch @add(%x) outs(%x) over @tp exchange(%e : memref<1xi8>) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c4_global {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.global @cache : memref<1xi8>
      // expected-error @+1 {{expected the workspace to be an 'engine.buffer', a vector of i8, but got 'memref<1xi8>'}}
      engine.launch @add(%x, %x) outs(%x) workspace(%w : memref<1xi8>) tokens at "p" : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @launch_c4_arena {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.buffer in @step : memref<64xi8>
      // expected-error @+1 {{expected arena @step to be transient, but it is io}}
      engine.launch @add(%x, %x) outs(%x) workspace(%w : memref<64xi8>) tokens at "p" : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

module @collective_c4 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected a kernel of op "all_reduce_sum", but @add is of "add"}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens by @add at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c4_missing {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{@nobody is not an 'engine.kernel'}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens by @nobody at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c4_alone {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.buffer in @act : memref<64xi8>
      // expected-error @+1 {{expected a kernel beside workspace and exchange memory}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens workspace(%w : memref<64xi8>) at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c5 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.buffer in @step : memref<64xi8>
      // expected-error @+1 {{expected arena @step to be transient, but it is io}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens by @reduce workspace(%w : memref<64xi8>) at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c6 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %e = engine.global @cache : memref<1xi8>
      // expected-error @+1 {{expected arena @kv to be exchange, but it is pages}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens by @reduce exchange(%e : memref<1xi8>) at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @collective_c6_buffer {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %w = engine.buffer in @act : memref<64xi8>
      // expected-error @+1 {{expected the exchange memory to be an 'engine.global', a vector of i8, but got 'memref<64xi8>'}}
      engine.collective all_reduce_sum %x to %x over @tp dim 0 tokens by @reduce exchange(%w : memref<64xi8>) at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

module @transfer_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected a kernel of op "send", but @reduce is of "all_reduce_sum"}}
      engine.transfer send %x tokens by @reduce at "p" : memref<8x32xf32>
    }
  }
}

// -----

module @transfer_c2_exchange {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %e = engine.global @cache : memref<1xi8>
      // expected-error @+1 {{expected arena @kv to be exchange, but it is pages}}
      engine.transfer send %x tokens by @send exchange(%e : memref<1xi8>) at "p" : memref<8x32xf32>
    }
  }
}

// -----

module @copy_c2 {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @step io bytes 4096 align 256
  engine.arena @kv pages bytes 4096 align 256
  engine.arena @peers exchange bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.kernel @reduce op "all_reduce_sum" {}
  engine.kernel @send op "send" {}
  engine.program @stage_0 stage 0 {
    engine.state @exchange in @peers : memref<64xi8>
    engine.state @cache kind paged in @kv : memref<1xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      // expected-error @+1 {{expected a kernel of op "copy", but @add is of "add"}}
      engine.copy %x to %x tokens by @add at "p" : memref<8x32xf32> to memref<8x32xf32>
    }
  }
}

// -----

//===----------------------------------------------------------------------===//
// Attributes of the dialect
//===----------------------------------------------------------------------===//

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
// expected-error @+1 {{expected positive count, rows and cols and destinations of at least 0}}
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 0, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
// expected-error @+1 {{expected four positive block sizes}}
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0,
    blocks = 1, 1>

// -----

module @transfer_c1 {
  engine.arena @act transient bytes 4096 align 256
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %y = engine.view %x column 16 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1], offset: 16>>
      // expected-error @+1 {{expected a static shape and an identity layout, but got 'memref<8x16xf32, strided<[32, 1], offset: 16>>'}}
      engine.transfer send %y tokens at "p" : memref<8x16xf32, strided<[32, 1], offset: 16>>
    }
  }
}

// -----

// expected-error @+1 {{expected a grid of three numbers from 1 to 2147483647, 65535 and 65535}}
#function = #engine.function<@m, "f" grid [8, 1] block 256 shared 0>

// -----

// expected-error @+1 {{expected a grid of three numbers from 1 to 2147483647, 65535 and 65535}}
#function = #engine.function<@m, "f" grid [8, 65536, 1] block 256 shared 0>

// -----

// expected-error @+1 {{expected a grid of three numbers from 1 to 2147483647, 65535 and 65535}}
#function = #engine.function<@m, "f" grid [0, 1, 1] block 256 shared 0>

// -----

// expected-error @+1 {{expected 1 to 1024 threads and at most 232448 bytes of shared memory, but got 1025 and 0}}
#function = #engine.function<@m, "f" grid [8, 1, 1] block 1025 shared 0>

// -----

// expected-error @+1 {{expected 1 to 1024 threads and at most 232448 bytes of shared memory, but got 32 and 232449}}
#function = #engine.function<@m, "f" grid [8, 1, 1] block 32 shared 232449>

// -----

// expected-error @+1 {{expected exclusive blocks from the grid's 8 to 128, but got 7}}
#function = #engine.function<@m, "f" grid [8, 1, 1] exclusive 7 block 32 shared 0>

// -----

// expected-error @+1 {{expected exclusive blocks from the grid's 8 to 128, but got 129}}
#function = #engine.function<@m, "f" grid [8, 1, 1] exclusive 129 block 32 shared 0>

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
#bytes = #engine.piece<source = @x, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 64, dest_row = 0, dest_col = 0,
    blocks = 1, 1, 1, 1>
module @launch_c6_state {
  engine.arena @act transient bytes 4096 align 256
  engine.arena @w constant bytes 4096 align 256
  engine.rank_groups @tp axes "tp" size 2 ranks [0, 1]
  engine.kernel @add op "add" {}
  engine.source @x from "x" : tensor<64xi8>
  engine.program @stage_0 stage 0 {
    engine.weight @bytes in @w at 0 pieces [#bytes] : memref<64xi8>
    engine.entry @e decode tokens 8 rows 8 {
      %x = engine.buffer in @act : memref<8x32xf32>
      %e = engine.global @bytes : memref<64xi8>
      // expected-error @+1 {{@bytes is not an 'engine.state'}}
      engine.launch @add(%x) outs(%x) over @tp exchange(%e : memref<64xi8>) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>)
    }
  }
}

// -----

#zero = #dist.rank_value<0 + (rank div 1 mod 1) * 0>
// expected-error @+1 {{expected four positive block sizes}}
#piece = #engine.piece<source = @src, member = #zero, count = 1, row = #zero, rows = 1, col = #zero, cols = 32, dest_row = 0, dest_col = 0, blocks = 1, 1, 0, 1>
