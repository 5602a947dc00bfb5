#ifndef SADDLE_DIST_OPS
#define SADDLE_DIST_OPS

include "dialects/Dist/IR/DistAttrs.td"
include "dialects/Dist/Interfaces/CollectiveOpInterface.td"
include "dialects/Model/IR/ModelAttrs.td"
include "dialects/Model/Interfaces/WeightOpInterface.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Dist_Op<string mnemonic, list<Trait> traits = []> : Op<Dist_Dialect, mnemonic, traits>;
//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

def Dist_MeshOp : Dist_Op<"mesh", [Symbol]> {
  let summary = "the ranks of one pipeline stage, arranged along named axes";
  let description = [{
    Ranks are numbered row-major: the last axis varies fastest.

    ```mlir
    dist.mesh @mesh ["tp" = 8]
    ```

    **Constraints**
    - (mesh_c1) there is at least one axis, and as many sizes as names;
    - (mesh_c2) sizes are positive;
    - (mesh_c3) names are different.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$axes, DenseI64ArrayAttr:$sizes);
  let assemblyFormat = "$sym_name custom<MeshAxes>($axes, $sizes) attr-dict";
  let hasVerifier = 1;
}

def Dist_WeightShardOp : Dist_Op<"weight_shard",
    [Symbol, DeclareOpInterfaceMethods<WeightOpInterface>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "one rank's share of one or more weights";
  let description = [{
    The parts are slices of `model.weight`s, each cut as its sharding says and concatenated along `concat`. The element type is the parts' storage, or f32
    for an exact widening. `stored` is the parts' storage after slicing: blocks divide those of the source, so that every part boundary falls between
    blocks, and companions may be widened to f32.

    ```mlir
    dist.weight_shard @layers.0.qkv of [@layers.0.q_proj, @layers.0.k_proj, @layers.0.v_proj]
        shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>]
        concat 0 stored <scale f32 [128, 128]> : tensor<1024x3072xf8E4M3FN>
    ```

    **Constraints**
    - (weight_shard_c1) there is at least one part, and one sharding for each;
    - (weight_shard_c2) `concat` is a dimension of the type;
    - (weight_shard_c3) every part is a `model.weight` whose rank equals the shard's;
    - (weight_shard_c4) a sharding names axes of its mesh that do not overlap, each divides its dimension, and nothing is unreduced;
    - (weight_shard_c5) the parts' local extents add up to the type along `concat` and equal it elsewhere;
    - (weight_shard_c6) the element type is every part's storage, or f32;
    - (weight_shard_c7) the storage is every part's, with blocks that divide theirs, scales as they are or in f32, and no sources; a weight that is not stored
      as its values is not widened.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefArrayAttr:$parts, TypedArrayAttrBase<Dist_ShardingAttr, "shardings">:$shardings,
      I64Attr:$concat, OptionalAttr<Model_StorageAttr>:$storage, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$sym_name `of` $parts `shardings` $shardings `concat` $concat (`stored` $storage^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Resharding and collectives
//===----------------------------------------------------------------------===//

class Dist_CollectiveOp<string mnemonic, string kind, list<Trait> traits = []>
    : Dist_Op<mnemonic, !listconcat([Pure, CollectiveOpInterface, DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)> {
  code getKind = "static CollectiveKind getKind() { return CollectiveKind::" # kind # "; }";
  let extraClassDeclaration = getKind;
}

def Dist_ReshardOp : Dist_Op<"reshard", [Pure]> {
  let summary = "change of layout, not yet a collective";
  let description = [{
    The same value under another sharding. `dist-insert-reshards` creates it where a producer and a consumer disagree, `dist-lower-reshards` turns it into
    collectives; none is left afterwards. Before partitioning both types are global, after it they are local.

    ```mlir
    %y = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]>
        : tensor<8x3072xbf16> -> tensor<8x3072xbf16>
    ```

    **Constraints**
    - (reshard_c1) both shardings have one entry for each dimension of the tensors;
    - (reshard_c2) both shardings are over one mesh.
  }];
  let arguments = (ins AnyRankedTensor:$input, Dist_ShardingAttr:$from, Dist_ShardingAttr:$to);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `from` $from `to` $to attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Dist_AllReduceOp : Dist_CollectiveOp<"all_reduce", "AllReduce", [SameOperandsAndResultType]> {
  let summary = "sum over a group, on every rank of it";
  let description = [{
    Sums in fp32 in rank order and rounds once, so every rank gets the same bits.

    ```
    rank 0: [1, 2]        [4, 6]
    rank 1: [3, 4]   ->   [4, 6]
    ```
    ```mlir
    %y = dist.all_reduce %x over <@mesh, ["tp"]> : tensor<8x3072xbf16>
    ```

    **Constraints**
    - (all_reduce_c1) the mesh exists and has the axes, which do not overlap.
  }];
  let arguments = (ins AnyRankedTensor:$input, Dist_AxesAttr:$axes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `over` $axes attr-dict `:` type($result)";
  // Rows stay as they are.
  let extraClassDeclaration = getKind # [{
    static uint64_t getDim() { return 0; }
    static RowLayoutAttr getRowsAttr() { return {}; }
  }];
}

def Dist_AllGatherOp : Dist_CollectiveOp<"all_gather", "AllGather"> {
  let summary = "concatenation of a group's shares, on every rank of it";
  let description = [{
    The shares stand in rank order along `dim`. Along dimension 0 `rows` says how tokens lie: in `blocks` of the static size, or, when
    replicas bring different numbers of tokens at run time, `packed` without gaps or `padded` to the largest.

    ```mlir
    %y = dist.all_gather %x dim 1 over <@mesh, ["tp"]> : tensor<8x25008xf32> -> tensor<8x200064xf32>
    ```

    **Constraints**
    - (all_gather_c1) the mesh exists and has the axes, which do not overlap;
    - (all_gather_c2) `dim` is a dimension of the input;
    - (all_gather_c3) the result is the input with `dim` multiplied by the group size;
    - (all_gather_c4) `rows` is given along dimension 0 and only there.
  }];
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$dim, Dist_AxesAttr:$axes, OptionalAttr<Dist_RowLayoutAttr>:$rows);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `dim` $dim `over` $axes (`rows` $rows^)? attr-dict `:` type($input) `->` type($result)";
}

def Dist_ReduceScatterOp : Dist_CollectiveOp<"reduce_scatter", "ReduceScatter"> {
  let summary = "sum over a group, each rank keeping its share";
  let description = [{
    `all_reduce`, of which each rank keeps its slice along `dim`. Along dimension 0 `rows` says how tokens lie, as for `dist.all_gather`.

    ```mlir
    %y = dist.reduce_scatter %x dim 1 over <@mesh, ["tp"]> : tensor<8x3072xbf16> -> tensor<8x384xbf16>
    ```

    **Constraints**
    - (reduce_scatter_c1) the mesh exists and has the axes, which do not overlap;
    - (reduce_scatter_c2) `dim` is a dimension of the input;
    - (reduce_scatter_c3) the input is the result with `dim` multiplied by the group size;
    - (reduce_scatter_c4) `rows` is given along dimension 0 and only there.
  }];
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$dim, Dist_AxesAttr:$axes, OptionalAttr<Dist_RowLayoutAttr>:$rows);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `dim` $dim `over` $axes (`rows` $rows^)? attr-dict `:` type($input) `->` type($result)";
}

//===----------------------------------------------------------------------===//
// Pipeline stages
//===----------------------------------------------------------------------===//

def Dist_SendOp : Dist_Op<"send", [MemoryEffects<[MemWrite]>]> {
  let summary = "hand the residual stream to the next stage";
  let description = [{
    Goes to the rank of the same place in the next pipeline stage, whose `dist.receive` of the same order gets it.

    ```mlir
    dist.send %x : tensor<8x3072xbf16>
    ```

    **Constraints**
    - (send_c1) the input is a ranked tensor.
  }];
  let arguments = (ins AnyRankedTensor:$input); // send_c1
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Dist_ReceiveOp : Dist_Op<"receive", [MemoryEffects<[MemRead]>]> {
  let summary = "get the residual stream from the stage before";
  let description = [{
    ```mlir
    %x = dist.receive : tensor<8x3072xbf16>
    ```

    **Constraints**
    - (receive_c1) the result is a ranked tensor.
  }];
  let results = (outs AnyRankedTensor:$result); // receive_c1
  let assemblyFormat = "attr-dict `:` type($result)";
}

#endif // SADDLE_DIST_OPS
