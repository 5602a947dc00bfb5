// RUN: saddle-opt %s --split-input-file --convert-to-engine | FileCheck %s

// Weight shards as recipes: rectangles of sources (docs/EngineFormat.md).
// Rectangles that do not depend on the rank start at
// "0 + (rank div 1 mod 1) * 0".

module attributes {model.limits = {max_batch = 1, max_seq_len = 16, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 2]
model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
model.weight @n from "n" dims ["out"] : tensor<64xbf16>
model.weight @m from "m" dims ["out"] : tensor<64xbf16>

// Rank r has rows 32 r to 32 r + 31.
// CHECK: engine.weight @by_rows in @weights pieces [#engine.piece<source = @a, member = <0 + (rank div 1 mod 1) * 0>, count = 1,
// CHECK-SAME: row = <0 + (rank div 1 mod 2) * 32>, rows = 32, col = <0 + (rank div 1 mod 1) * 0>, cols = 32,
// CHECK-SAME: dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>] : memref<32x32xbf16>
dist.weight_shard @by_rows of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<32x32xbf16>

// CHECK: engine.weight @by_columns in @weights
// CHECK-SAME: row = <0 + (rank div 1 mod 1) * 0>, rows = 64, col = <0 + (rank div 1 mod 2) * 16>, cols = 16,
// CHECK-SAME: : memref<64x16xbf16>
dist.weight_shard @by_columns of [@a] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 : tensor<64x16xbf16>

// CHECK: engine.weight @whole in @weights
// CHECK-SAME: row = <0 + (rank div 1 mod 1) * 0>, rows = 64, col = <0 + (rank div 1 mod 1) * 0>, cols = 32,
dist.weight_shard @whole of [@a] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xbf16>

// A vector is one row; parts go side by side. The element type widens.
// CHECK: engine.weight @vectors in @weights pieces [#engine.piece<source = @n, {{[^#]*}}, row = <0 + (rank div 1 mod 1) * 0>, rows = 1,
// CHECK-SAME: col = <0 + (rank div 1 mod 2) * 32>, cols = 32, dest_row = 0, dest_col = 0, {{.*}}source = @m,
// CHECK-SAME: cols = 64, dest_row = 0, dest_col = 32, blocks = 1, 1, 1, 1>] : memref<96xf32>
dist.weight_shard @vectors of [@n, @m] shardings [#dist.sharding<@mesh, ["tp"]>, #dist.sharding<@mesh, [_]>] concat 0 : tensor<96xf32>

// CHECK: engine.weight @columns_side_by_side in @weights
// CHECK-SAME: dest_row = 0, dest_col = 0
// CHECK-SAME: dest_row = 0, dest_col = 16
// CHECK-SAME: : memref<64x32xbf16>
dist.weight_shard @columns_side_by_side of [@a, @a] shardings [#dist.sharding<@mesh, [_, "tp"]>, #dist.sharding<@mesh, [_, "tp"]>] concat 1
    : tensor<64x32xbf16>
}

// -----

// 8 ranks over 4 KV heads of 4 rows: ranks 2j and 2j+1 read rows 4j to 4j+3 of
// k and v. q takes rows 0 to 7 of the result, k 8 to 11, v 12 to 15.

module attributes {model.limits = {max_batch = 1, max_seq_len = 16, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 8]
model.weight @q from "q" dims ["q_heads", "hidden"] : tensor<64x32xbf16>
model.weight @k from "k" dims ["kv_heads", "hidden"] : tensor<16x32xbf16>
model.weight @v from "v" dims ["kv_heads", "hidden"] : tensor<16x32xbf16>
// CHECK: engine.weight @qkv in @weights
// CHECK-SAME: source = @q, {{[^#]*}} row = <0 + (rank div 1 mod 8) * 8>, rows = 8, {{[^#]*}} dest_row = 0, dest_col = 0,
// CHECK-SAME: source = @k, {{[^#]*}} row = <0 + (rank div 2 mod 4) * 4>, rows = 4, {{[^#]*}} dest_row = 8, dest_col = 0,
// CHECK-SAME: source = @v, {{[^#]*}} row = <0 + (rank div 2 mod 4) * 4>, rows = 4, {{[^#]*}} dest_row = 12, dest_col = 0,
// CHECK-SAME: : memref<16x32xbf16>
dist.weight_shard @qkv of [@q, @k, @v]
    shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>]
    concat 0 : tensor<16x32xbf16>
}

// -----

// Stacks: all members at once, parts one after another in each member. With an
// axis "ep", rank r of 4 has members 3 (r / 2 mod 2) to + 2.

module attributes {model.limits = {max_batch = 1, max_seq_len = 16, prefill_chunk = 8, page_size = 16}} {
// CHECK: engine.source @w1 from "{}.w1" stack 6 : tensor<24x32xbf16>
dist.mesh @mesh ["ep" = 2, "tp" = 2]
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
// CHECK: engine.weight @w13 in @weights
// CHECK-SAME: source = @w1, member = <0 + (rank div 2 mod 2) * 3>, count = 3, row = <0 + (rank div 1 mod 2) * 12>, rows = 12, {{[^#]*}} cols = 32, dest_row = 0,
// CHECK-SAME: source = @w3, member = <0 + (rank div 2 mod 2) * 3>, count = 3, row = <0 + (rank div 1 mod 2) * 12>, rows = 12, {{[^#]*}} cols = 32, dest_row = 12,
// CHECK-SAME: : memref<3x24x32xbf16>
dist.weight_shard @w13 of [@w1, @w3] shardings [#dist.sharding<@mesh, ["ep", "tp", _]>, #dist.sharding<@mesh, ["ep", "tp", _]>] concat 1
    : tensor<3x24x32xbf16>
}

// -----

// Scales are a second recipe. 1536 rows over 8 ranks are 192: in blocks of 64,
// 3 by 2 scales, each a copy of the scale of a 128 x 128 block of the source
// (12 by 2 of them). The rectangle starts at a cell, 192 r.

module attributes {model.limits = {max_batch = 1, max_seq_len = 16, prefill_chunk = 8, page_size = 16}} {
// CHECK: engine.source @w from "w" : tensor<1536x256xf8E4M3FN>
// CHECK: engine.source @w.scale from "w_s" companion scale of @w : tensor<12x2xf32>
// A short last block has a scale too: ceil(200 / 128) = 2.
// CHECK: engine.source @c.scale from "c_s" companion scale of @c : tensor<2x12xf32>
// CHECK: engine.source @e.scale from "{}.e_s" stack 6 companion scale of @e : tensor<12x2xf32>
dist.mesh @mesh ["tp" = 8]
model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128] from "w_s"> : tensor<1536x256xf8E4M3FN>
model.weight @c from "c" dims ["out", "in"] stored <scale f32 [128, 128] from "c_s"> : tensor<200x1536xf8E4M3FN>
model.weight @b from "b" dims ["out", "in"] stored <scale f32 [128, 128] from "b_s"> : tensor<768x256xf8E4M3FN>
model.weight @e from "{}.e" dims ["experts", "out", "in"] stored <scale f32 [128, 128] from "{}.e_s"> : tensor<6x1536x256xf8E4M3FN>

// CHECK: engine.weight @rows in @weights {{.*}} rows = 192, {{.*}} blocks = 1, 1, 1, 1>] : memref<192x256xf8E4M3FN>
// CHECK-NEXT: engine.weight @rows.scale in @weights pieces [#engine.piece<source = @w.scale,
// CHECK-SAME: row = <0 + (rank div 1 mod 8) * 192>, rows = 3, col = <0 + (rank div 1 mod 1) * 0>, cols = 2,
// CHECK-SAME: dest_row = 0, dest_col = 0, blocks = 128, 128, 64, 128>] : memref<3x2xf32>
dist.weight_shard @rows of [@w] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [64, 128]> : tensor<192x256xf8E4M3FN>

// Columns: 1536 / 8 = 192 in blocks of 64 are 3; 200 rows in blocks of 128 are 2.
// CHECK: engine.weight @columns.scale in @weights
// CHECK-SAME: row = <0 + (rank div 1 mod 1) * 0>, rows = 2, col = <0 + (rank div 1 mod 8) * 192>, cols = 3,
// CHECK-SAME: blocks = 128, 128, 128, 64>] : memref<2x3xf32>
dist.weight_shard @columns of [@c] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 stored <scale f32 [128, 64]> : tensor<200x192xf8E4M3FN>

// 192 rows of w and 96 of b in blocks of 32: scale rows 0 to 5 and 6 to 8.
// CHECK: engine.weight @two_parts.scale in @weights
// CHECK-SAME: source = @w.scale, {{[^#]*}} row = <0 + (rank div 1 mod 8) * 192>, rows = 6, {{[^#]*}} dest_row = 0, dest_col = 0, blocks = 128, 128, 32, 128>
// CHECK-SAME: source = @b.scale, {{[^#]*}} row = <0 + (rank div 1 mod 8) * 96>, rows = 3, {{[^#]*}} dest_row = 6, dest_col = 0, blocks = 128, 128, 32, 128>
// CHECK-SAME: : memref<9x2xf32>
dist.weight_shard @two_parts of [@w, @b] shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [32, 128]>
    : tensor<288x256xf8E4M3FN>

// Side by side: 192 columns each, so the second part's scales start at column
// 192 / 64 = 3.
// CHECK: engine.weight @side_by_side.scale in @weights
// CHECK-SAME: dest_row = 0, dest_col = 0, blocks = 128, 128, 128, 64>
// CHECK-SAME: dest_row = 0, dest_col = 3, blocks = 128, 128, 128, 64>
// CHECK-SAME: : memref<2x6xf32>
dist.weight_shard @side_by_side of [@c, @c] shardings [#dist.sharding<@mesh, [_, "tp"]>, #dist.sharding<@mesh, [_, "tp"]>] concat 1 stored <scale f32 [128, 64]>
    : tensor<200x384xf8E4M3FN>

// CHECK: engine.weight @stack.scale in @weights
// CHECK-SAME: count = 6, row = <0 + (rank div 1 mod 8) * 192>, rows = 3, {{.*}} cols = 2, {{.*}} : memref<6x3x2xf32>
dist.weight_shard @stack of [@e] shardings [#dist.sharding<@mesh, [_, "tp", _]>] concat 1 stored <scale f32 [64, 128]> : tensor<6x192x256xf8E4M3FN>
}

// -----

// A bf16 scale for each row, cut along columns: every rank reads the one column
// that there is, into f32.

module attributes {model.limits = {max_batch = 1, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
// CHECK: engine.source @c.scale from "c_s" companion scale of @c : tensor<200x1xbf16>
dist.mesh @mesh ["tp" = 8]
model.weight @c from "c" dims ["out", "in"] stored <scale bf16 [1, *] from "c_s"> : tensor<200x1536xf8E4M3FN>
// CHECK: engine.weight @columns.scale in @weights
// CHECK-SAME: rows = 200, col = <0 + (rank div 1 mod 8) * 192>, cols = 1,
// CHECK-SAME: blocks = 1, 1536, 1, 192>] : memref<200x1xf32>
dist.weight_shard @columns of [@c] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 stored <scale f32 [1, *]> : tensor<200x192xf8E4M3FN>
}

// -----

// Two weights of one tensor, split and whole: one source serves both. The same
// name in another checkpoint is another tensor.

module attributes {model.limits = {max_batch = 1, max_seq_len = 16, prefill_chunk = 8, page_size = 16}, model.checkpoints = {draft = ""}} {
// CHECK: engine.source @table from "table" : tensor<64x32xbf16>
// CHECK-NOT: engine.source @copy
// CHECK: engine.source @other from "table" of "draft" : tensor<64x32xbf16>
dist.mesh @mesh ["tp" = 2]
model.weight @table from "table" dims ["embedding_vocab", "hidden"] : tensor<64x32xbf16>
model.weight @copy from "table" dims ["drafted_vocab", "hidden"] : tensor<64x32xbf16>
model.weight @other from "table" of "draft" dims ["drafted_vocab", "hidden"] : tensor<64x32xbf16>
// CHECK: engine.weight @split in @weights pieces [#engine.piece<source = @table,
// CHECK-SAME: row = <0 + (rank div 1 mod 2) * 32>, rows = 32,
dist.weight_shard @split of [@table] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<32x32xbf16>
// CHECK: engine.weight @whole in @weights pieces [#engine.piece<source = @table,
// CHECK-SAME: rows = 64,
dist.weight_shard @whole of [@copy] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xbf16>
// CHECK: engine.weight @others in @weights pieces [#engine.piece<source = @other,
dist.weight_shard @others of [@other] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xbf16>
}
