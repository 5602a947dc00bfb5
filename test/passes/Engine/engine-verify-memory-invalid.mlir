// RUN: saddle-opt %s --split-input-file --engine-verify-memory=alignment=64 --verify-diagnostics
// RUN: not saddle-opt %s --split-input-file --engine-verify-memory=alignment=0 2>&1 | FileCheck %s

// Plans written by hand, each wrong in one way. Alignment 64.

// CHECK: error: alignment must be positive, but got 0

func.func @tensors_are_left(%x: tensor<8x32xf32>) -> tensor<8x32xf32> {
  // expected-error @+1 {{tensor type 'tensor<8x32xf32>' is left}}
  %y = model.add %x, %x : tensor<8x32xf32>
  return %y : tensor<8x32xf32>
}

// -----

engine.arena @weights constant bytes 256 align 64
engine.source @s from "s" : tensor<16xf32>
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{has no offset; run engine-plan-memory}}
  engine.weight @w in @weights pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1,
      row = <0 + (rank div 1 mod 1) * 0>, rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 16, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>]
      : memref<16xf32>
}

// -----

engine.arena @kv pages bytes 256 align 64
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{has no offset; run engine-plan-memory}}
  engine.state @kv.k kind paged in @kv : memref<1x16xf32>
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 4 rows 4 {
    // expected-error @+1 {{has no offset; run engine-plan-memory}}
    %x = engine.buffer in @activations : memref<16xf32>
  }
}

// -----

// 32 is a multiple of 32, not of 64.
engine.arena @activations transient bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 4 rows 4 {
    // expected-error @+1 {{expected an offset aligned to 64, but got 32}}
    %x = engine.buffer in @activations at 32 : memref<16xf32>
  }
}

// -----

engine.arena @kv pages bytes 256 align 64
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{expected an offset aligned to 64, but got -64}}
  engine.state @kv.k kind paged in @kv at -64 : memref<1x16xf32>
}

// -----

// 192 + 4 * 17 = 260.
engine.arena @kv pages bytes 256 align 64
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{ends at byte 260 of arena @kv, which has 256}}
  engine.state @kv.k kind paged in @kv at 192 : memref<1x17xf32>
}

// -----

// 2^63 - 64 + 128: an end past 2^63 is outside too.
engine.arena @kv pages bytes 256 align 64
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{ends at byte 9223372036854775872 of arena @kv, which has 256}}
  engine.state @kv.k kind paged in @kv at 9223372036854775744 : memref<1x32xf32>
}

// -----

engine.arena @kv pages bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.state @kv.k kind paged in @kv at 64 : memref<1x16xf32>
  // expected-error @+1 {{starts at byte 64 of arena @kv, where another weight or state starts}}
  engine.state @kv.v kind paged in @kv at 64 : memref<1x8xf32>
}

// -----

// 68 bytes from 0 on reach into the second weight; states do not matter to it.
engine.arena @weights constant bytes 256 align 64
engine.arena @kv pages bytes 256 align 64
engine.source @s from "s" : tensor<16xf32>
engine.program @stage_0 stage 0 {
  // expected-note @+1 {{the neighbour}}
  engine.weight @first in @weights at 0 pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1,
      row = <0 + (rank div 1 mod 1) * 0>, rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 16, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>]
      : memref<17xf32>
  engine.state @kv.k kind paged in @kv at 64 : memref<1x16xf32>
  // expected-error @+1 {{starts at byte 64 of arena @weights, inside its neighbour, which ends at 68}}
  engine.weight @second in @weights at 64 pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1,
      row = <0 + (rank div 1 mod 1) * 0>, rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 16, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>]
      : memref<16xf32>
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @read_before_write decode tokens 4 rows 4 {
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 64 : memref<4x4xf32>
    %y = engine.buffer in @activations at 128 : memref<4x4xf32>
    // expected-error @+1 {{reads byte 64 of arena @activations, which nothing has written}}
    engine.launch @k(%x) outs(%y) tokens at "a" : (memref<4x4xf32>) outs(memref<4x4xf32>)
  }
}

// -----

// The first half of %wide was written as %x.
engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @read_in_part_before_write decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer that overwrote it}}
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    // expected-note @+1 {{buffer read here}}
    %wide = engine.buffer in @activations at 0 : memref<4x8xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
    // expected-error @+1 {{reads byte 0 of arena @activations, which another buffer has overwritten}}
    engine.copy %wide to %wide tokens at "b" : memref<4x8xf32> to memref<4x8xf32>
  }
}

// -----

// %y takes bytes 64 to 127 while %x, bytes 0 to 127, is still to be read.
engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @overlap_of_live_buffers decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x8xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %y = engine.buffer in @activations at 64 : memref<4x4xf32>
    %logits = engine.buffer in @io at 64 : memref<4x4xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x8xf32>)
    engine.launch @k(%tokens) outs(%y) tokens at "b" : (memref<4xi32>) outs(memref<4x4xf32>)
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.launch @k(%x) outs(%logits) tokens at "c" : (memref<4x8xf32>) outs(memref<4x4xf32>)
    engine.bind "logits", %logits : memref<4x4xf32>
  }
}

// -----

// A view is read through its buffer.
engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @overlap_of_a_viewed_buffer decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x8xf32>
    %view = engine.view %x column 0 : memref<4x8xf32> -> memref<4x4xf32, strided<[8, 1]>>
    // expected-note @+1 {{buffer that overwrote it}}
    %y = engine.buffer in @activations at 64 : memref<4x4xf32>
    engine.launch @k(%tokens) outs(%x, %y) tokens at "a" : (memref<4xi32>) outs(memref<4x8xf32>, memref<4x4xf32>)
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.launch @k(%view) outs(%y) tokens at "b" : (memref<4x4xf32, strided<[8, 1]>>) outs(memref<4x4xf32>)
  }
}

// -----

// An output must not destroy what the same command reads.
engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @launch_over_its_input decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x8xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %y = engine.buffer in @activations at 64 : memref<4x8xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x8xf32>)
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.launch @k(%x) outs(%y) tokens at "b" : (memref<4x8xf32>) outs(memref<4x8xf32>)
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.rank_groups @tp axes "tp" size 1 ranks [0]
engine.program @stage_0 stage 0 {
  engine.entry @collective_over_its_input decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x8xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %y = engine.buffer in @activations at 64 : memref<4x8xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x8xf32>)
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens at "b" : memref<4x8xf32> to memref<4x8xf32>
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @copy_over_its_input decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x8xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %y = engine.buffer in @activations at 64 : memref<4x8xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x8xf32>)
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.copy %x to %y tokens at "b" : memref<4x8xf32> to memref<4x8xf32>
  }
}

// -----

// The host writes inputs before the first command, so their bytes are not free
// before their first use either.
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @input_overwritten_before_its_use decode tokens 4 rows 4 {
    // expected-note @+1 {{buffer that overwrote it}}
    %x = engine.buffer in @io at 0 : memref<4x4xf32>
    %tokens = engine.buffer in @io at 64 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %rows = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "rows", %rows : memref<4xi32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
    // expected-error @+1 {{reads byte 0 of arena @io, which another buffer has overwritten}}
    engine.launch @k(%rows) outs(%x) tokens at "b" : (memref<4xi32>) outs(memref<4x4xf32>)
  }
}

// -----

engine.arena @io io bytes 256 align 64
engine.program @stage_0 stage 0 {
  // expected-error @+1 {{entry @no_logits has no binding "logits"}}
  engine.entry @no_logits decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
  }
}

// -----

engine.arena @io io bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.entry @logits_not_written decode tokens 4 rows 4 {
    // expected-note @+1 {{buffer read here}}
    %logits = engine.buffer in @io at 64 : memref<4x4xf32>
    // expected-error @+1 {{reads byte 64 of arena @io, which nothing has written}}
    engine.bind "logits", %logits : memref<4x4xf32>
  }
}

// -----

engine.arena @io io bytes 512 align 64
engine.program @stage_0 stage 0 {
  engine.entry @candidates_not_written decode tokens 4 rows 4 {
    // expected-note @+1 {{buffer read here}}
    %tokens = engine.buffer in @io at 64 : memref<4x4xi32>
    // expected-error @+1 {{reads byte 64 of arena @io, which nothing has written}}
    engine.bind "candidate_tokens", %tokens : memref<4x4xi32>
  }
}

// -----

engine.program @stage_0 stage 0 {
  // expected-error @+1 {{entry @arguments has block arguments; expected buffers}}
  "engine.entry"() <{sym_name = "arguments", phase = #engine<phase decode>, tokens = 4 : i64, rows = 4 : i64}> ({
  ^bb0(%x: memref<4x4xf32>):
  }) : () -> ()
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @workspace_over_input decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    %y = engine.buffer in @activations at 128 : memref<4x4xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %w = engine.buffer in @activations at 0 : memref<64xi8>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
    // expected-error @+1 {{reads byte 0 of arena @activations, which another buffer has overwritten}}
    engine.launch @k(%x) outs(%y) workspace(%w : memref<64xi8>) tokens at "b" : (memref<4x4xf32>) outs(memref<4x4xf32>)
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  engine.entry @workspace_under_output decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer that overwrote it}}
    %x = engine.buffer in @activations at 64 : memref<4x4xf32>
    // expected-note @+1 {{buffer read here}}
    %w = engine.buffer in @activations at 0 : memref<128xi8>
    // expected-error @+1 {{reads byte 64 of arena @activations, which another buffer has overwritten}}
    engine.launch @k(%tokens) outs(%x) workspace(%w : memref<128xi8>) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.program @stage_0 stage 0 {
  // Live across the launch: its bytes are nobody's afterwards.
  engine.entry @workspace_over_live_buffer decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    %y = engine.buffer in @activations at 128 : memref<4x4xf32>
    %w = engine.buffer in @activations at 0 : memref<64xi8>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
    engine.launch @k(%tokens) outs(%y) workspace(%w : memref<64xi8>) tokens at "b" : (memref<4xi32>) outs(memref<4x4xf32>)
    // expected-error @+1 {{reads byte 0 of arena @activations, which nothing has written}}
    engine.launch @k(%x) outs(%y) tokens at "c" : (memref<4x4xf32>) outs(memref<4x4xf32>)
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "all_reduce_sum" {}
engine.rank_groups @tp axes "tp" size 1 ranks [0]
engine.program @stage_0 stage 0 {
  engine.entry @workspace_of_a_collective decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4x4xf32>
    engine.bind "tokens", %tokens : memref<4x4xf32>
    // expected-note @+1 {{buffer that overwrote it}}
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    // expected-note @+1 {{buffer read here}}
    %w = engine.buffer in @activations at 0 : memref<64xi8>
    // expected-error @+1 {{reads byte 0 of arena @activations, which another buffer has overwritten}}
    engine.collective all_reduce_sum %tokens to %x over @tp dim 0 tokens by @k workspace(%w : memref<64xi8>) at "a" : memref<4x4xf32> to memref<4x4xf32>
  }
}

// -----

engine.arena @activations transient bytes 256 align 64
engine.kernel @k op "receive" {}
engine.program @stage_0 stage 0 {
  engine.entry @workspace_of_a_transfer decode tokens 4 rows 4 {
    // expected-note @+1 {{buffer that overwrote it}}
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    // expected-note @+1 {{buffer read here}}
    %w = engine.buffer in @activations at 0 : memref<64xi8>
    // expected-error @+1 {{reads byte 0 of arena @activations, which another buffer has overwritten}}
    engine.transfer receive %x tokens by @k workspace(%w : memref<64xi8>) at "a" : memref<4x4xf32>
  }
}

// -----

engine.arena @exchange exchange bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.state @exchange.tp in @exchange at 0 : memref<64xi8>
}
// expected-error @+1 {{program @stage_1 has other exchange states than @stage_0; expected the same names, types and offsets in one order}}
engine.program @stage_1 stage 1 {
  engine.state @exchange.tp in @exchange at 64 : memref<64xi8>
}

// -----

engine.arena @exchange exchange bytes 256 align 64
engine.program @stage_0 stage 0 {
  engine.state @exchange.tp in @exchange at 0 : memref<64xi8>
}
// expected-error @+1 {{program @stage_1 has other exchange states than @stage_0}}
engine.program @stage_1 stage 1 {
}
