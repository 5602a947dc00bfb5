#ifndef SADDLE_PASSES_DIST
#define SADDLE_PASSES_DIST

include "mlir/Pass/PassBase.td"

def AttachMesh : Pass<"dist-attach-mesh", "::mlir::ModuleOp"> {
  let summary = "Create the mesh of a topology";
  let description = [{
    Adds `dist.mesh @mesh` and the module attribute `dist.topology`. This version places tensor parallelism only.

    ```mlir
    // --dist-attach-mesh=tp=8
    dist.mesh @mesh ["tp" = 8]
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
  let options = [
    Option<"tp", "tp", "int64_t", /*default=*/"1", "Ranks of a pipeline stage">,
    Option<"dp", "dp", "int64_t", /*default=*/"1", "Attention replicas inside tp">,
    Option<"ep", "ep", "int64_t", /*default=*/"1", "Expert groups inside tp">,
    Option<"pp", "pp", "int64_t", /*default=*/"1", "Pipeline stages">,
  ];
}

def SeedShardings : Pass<"dist-seed-shardings", "::mlir::ModuleOp"> {
  let summary = "Lay weights and caches over the mesh by their logical dimensions";
  let description = [{
    | dimension | split |
    | --- | --- |
    | `q_heads` | by tp, at head boundaries |
    | `kv_heads` | by tp where it divides the heads; where the heads divide tp, by the major factor of tp, so that neighbouring ranks hold replicas |
    | `expert_width` | by tp |
    | `vocab` | by tp where it divides, else replicated (with a remark) |
    | `experts`, `hidden`, others | not split |

    A count that cannot be placed is an error that names the configuration field and the widths that would do.

    ```mlir
    model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<6144x3072xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def Propagate : Pass<"dist-propagate", "::mlir::ModuleOp"> {
  let summary = "Infer the sharding of every value from the weights'";
  let description = [{
    Walks each function once, forwards; each op's rule (ShardingRules.h) gives its results' shardings, with partial sums where a contracted dimension is
    split. An op that cannot work with what reaches it says so, with a note at the weight that caused it.

    ```mlir
    %q = model.linear %x, @q_proj {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]} : ...
    %o = model.linear %a, @o_proj {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]} : ...
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def InsertReshards : Pass<"dist-insert-reshards", "::mlir::ModuleOp"> {
  let summary = "Put a reshard wherever producer and consumer disagree";
  let description = [{
    Afterwards every operand has the sharding that its op asks for. One reshard serves all users of a value that want the same.

    ```mlir
    %o = model.linear %a, @o_proj {dist.shardings = [... unreduced ["tp"]>]} : ...
    %r = dist.reshard %o from #dist.sharding<@mesh, [_, _] unreduced ["tp"]> to #dist.sharding<@mesh, [_, _]> : ...
    %h = model.add %x, %r : ...
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def Partition : Pass<"dist-partition", "::mlir::ModuleOp"> {
  let summary = "Rewrite global shapes to one rank's";
  let description = [{
    Types become local, weights become `dist.weight_shard`s (widened to f32 where the reference multiplies in f32: norms and the router's bias), caches keep
    the heads of one rank, and lookups in split tables get the rank's start. Where ranks hold replicas of the same K columns, the sum of squares over the
    group counts every column several times, and the norm's divisor is multiplied by the same factor. A dimension that does not divide is an error, never a
    rounding.

    ```mlir
    dist.weight_shard @q_proj.shard of [@q_proj] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<768x3072xbf16>
    %q = model.linear %x, @q_proj.shard : tensor<8x3072xbf16> -> tensor<8x768xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def LowerReshards : Pass<"dist-lower-reshards", "::mlir::ModuleOp"> {
  let summary = "Turn reshards into collectives";
  let description = [{
    | from | to | becomes |
    | --- | --- | --- |
    | unreduced over A | replicated | `dist.all_reduce` over A |
    | unreduced over A | split by A | `dist.reduce_scatter` |
    | split by A | replicated | `dist.all_gather` |

    Any other pair is an error. A collective over groups of one rank vanishes.
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def FuseProjections : Pass<"dist-fuse-projections", "::mlir::ModuleOp"> {
  let summary = "Merge linears that read the same input, as weight recipes";
  let description = [{
    q, k and v become one linear whose weight shard concatenates their shares, followed by a `model.split`; an expert's gate and up stacks become one. Only
    output rows are concatenated, so every output is the same dot product as before. Works on local shapes, where shares of different widths (replicated KV
    heads) need no special case.

    ```mlir
    %q = model.linear %x, @q_proj.shard : tensor<8x3072xbf16> -> tensor<8x768xbf16>
    %k = model.linear %x, @k_proj.shard : tensor<8x3072xbf16> -> tensor<8x128xbf16>
    ```
    becomes
    ```mlir
    dist.weight_shard @q_proj.shard+k_proj.shard of [@q_proj, @k_proj] shardings [...] concat 0 : tensor<896x3072xbf16>
    %qk = model.linear %x, @"q_proj.shard+k_proj.shard" : tensor<8x3072xbf16> -> tensor<8x896xbf16>
    %q, %k = model.split %qk : tensor<8x896xbf16> -> tensor<8x768xbf16>, tensor<8x128xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def VerifySPMD : Pass<"dist-verify-spmd", "::mlir::ModuleOp"> {
  let summary = "Close the dist level: one program, the same collectives everywhere";
  let description = [{
    No reshard and no sharding attribute is left; ops read `dist.weight_shard`s, not `model.weight`s; nothing but straight-line code, so all ranks of a group
    meet the same collectives in the same order.
  }];
}

#endif // SADDLE_PASSES_DIST
