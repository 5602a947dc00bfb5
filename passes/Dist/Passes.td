#ifndef SADDLE_PASSES_DIST
#define SADDLE_PASSES_DIST

include "mlir/Pass/PassBase.td"

def AttachMesh : Pass<"dist-attach-mesh", "::mlir::ModuleOp"> {
  let summary = "Create the mesh of a topology";
  let description = [{
    Adds `dist.mesh @mesh`, the ranks of one pipeline stage, and the module attribute `dist.topology`. dp and ep must divide tp; the nearest legal values
    are named otherwise.

    ```mlir
    // --dist-attach-mesh="tp=8 dp=2 ep=4"
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

def ExpandReplicas : Pass<"dist-expand-replicas", "::mlir::ModuleOp"> {
  let summary = "Count the tokens of all attention replicas";
  let description = [{
    A bucket is one replica's tokens. With dp replicas a step has dp times as many, and dimension 0 of every tensor grows so; from here on shapes are
    global, and replicas are a split of dimension 0 like any other.

    ```mlir
    func.func @decode_8(%tokens: tensor<8xi32>, ...)   // dp = 4
    ```
    becomes
    ```mlir
    func.func @decode_8(%tokens: tensor<32xi32>, ...)
    ```
  }];
}

def SeedShardings : Pass<"dist-seed-shardings", "::mlir::ModuleOp"> {
  let summary = "Lay weights and caches over the mesh by their logical dimensions";
  let description = [{
    Ranks are seen as replicas x attention width, and as expert groups x expert width; factors of the axis "tp" name these (`"tp":(1)2`).

    | dimension | split |
    | --- | --- |
    | `q_heads` | by the attention width tp / dp; with more ranks than heads, by its largest factor that divides the heads |
    | `kv_heads` | likewise where the width divides the heads; where the heads divide the width, by its major factor, so that neighbouring ranks hold replicas |
    | `experts` | by ep |
    | `expert_width` | by tp / ep |
    | `embedding_vocab` | by the attention width, `vocab` by tp, where it divides, else replicated (with a remark) |
    | tokens (dimension 0 of arguments) | by dp |
    | `hidden`, `router_experts` | not split |

    What is shared out are units (`#model.dim`): extent divided by unit, and the heads of a cache for `kv_heads`. All weights and caches must agree on their
    number. A number that cannot be placed is an error that names the field of config.json and the widths that would do. A name outside this table is an error
    too: its weight would silently lie on every rank.

    ```mlir
    model.weight @q_proj from "q" dims ["q_heads" x 128, "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<6144x3072xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
}

def ChooseExchanges : Pass<"dist-choose-exchanges", "::mlir::ModuleOp"> {
  let summary = "Choose, for each entry, how the ranks of a layer meet";
  let description = [{
    Four choices, taken together: the plan with the least predicted time of a layer wins, unless an option asks for another.

    | choice | values | what differs |
    | --- | --- | --- |
    | `reduction` | `all_reduce` | the partial sums behind attention and experts are finished by launches of their own |
    | | `deferred` | the launch of the next add and norm finishes them, where the target has such a launch (the groups `all_reduce_add_rms_norm`, with replicas `reduce_scatter_...`) |
    | | `reduce_scatter` | each rank finishes the rows of its share of tokens, adds there, and rows are gathered for the next branch |
    | `norm` | `early` | a rank normalises its own rows, then they are gathered |
    | | `late` | rows are gathered as they are and every rank normalises all |
    | `experts` | `masked` | every rank has all tokens already and skips those of other ranks' experts |
    | | `gathered` | tokens come from split rows by an all-gather and go back by a reduce-scatter |
    | `rows` | `packed` | gathered rows of attention replicas lie without gaps |
    | | `padded` | they lie in slots of the largest count |

    `norm` is a choice where ranks hold different rows (`reduce_scatter`; replicas, in front of the experts), `rows` with replicas. What no op expresses is no
    candidate: without replicas `gathered` and `reduce_scatter` go together, because nothing takes a slice of a row that every rank holds; with
    replicas experts are always `gathered`, and a replica's ranks cannot share out its rows, since no layout joins shares of several replicas. Remarks say so.

    Costs are those of ExchangePlan.h for the target's machine (H200, also for cpu) and its fusions: what no fusion covers is a launch of its own. On sm_90a no
    launch adds and finishes a sum, so `deferred` costs as much as `all_reduce`, and the simpler one is chosen. A remark for each choice states the candidates, their predicted times by parts, and why one won. An option that some entries cannot follow is left aside there, with a warning; one that no
    entry can follow is an error.

    The choices stand on the function by name, for dist-lower-reshards and kernel-form-groups, and as `dist.token_axis` on the row-by-row ops whose rows they
    split or gather; dist-propagate carries that out. Where rows are split and normalised early in a prefill entry, routers and their products have it too: each rank chooses experts for its own rows, and the choices are
    gathered, 8 bytes for each.

    ```mlir
    func.func @prefill_4096(...) attributes {dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}} {
      %h = model.add %x, %a {dist.token_axis = #dist.axes<@mesh, ["tp"]>} : tensor<4096x3072xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
  let options = [
    Option<"reduction", "reduction", "std::string", /*default=*/"\"auto\"", "auto, all_reduce, deferred or reduce_scatter">,
    Option<"norm", "norm", "std::string", /*default=*/"\"auto\"", "auto, early or late">,
    Option<"experts", "experts", "std::string", /*default=*/"\"auto\"", "auto, masked or gathered">,
    Option<"rows", "rows", "std::string", /*default=*/"\"auto\"", "auto, packed or padded">,
    Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">,
  ];
}

def Propagate : Pass<"dist-propagate", "::mlir::ModuleOp"> {
  let summary = "Infer the sharding of every value from the weights'";
  let description = [{
    Walks each function once, forwards; each op's rule (ShardingRuleOpInterface) gives its results' shardings, with partial sums where a contracted dimension is
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
    | unreduced over A and B | split by A | `dist.reduce_scatter` over A, then `dist.all_reduce` over B |
    | split by A | replicated, or split by a major factor of A | `dist.all_gather` over what is left |

    Any other pair is an error. A collective over groups of one rank vanishes. Rows of different replicas are ragged at run time: `rows` of the function's
    `dist.choices` says whether they travel packed (without one: packed) or padded; rows of the ranks of one replica are blocks of a fixed size.
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

def EncodeGathers : Pass<"dist-encode-gathers", "::mlir::ModuleOp"> {
  let summary = "Let rows travel as codes where all who read them round them";
  let description = [{
    Of a prefill entry, where every reader of an `all_gather` of rows is a linear or experts with the same `act_group`, and the target has kernels for them that take
    codes, the rank that has a row encodes it: 3168 bytes of M2.5 for 6144, and nobody encodes what was gathered. The sums are those of the same codes. Weights and
    numbers of experts that are gathered for the same experts go with the rows, in one exchange for three.

    ```mlir
    %x = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<4096x3072xbf16> -> tensor<8192x3072xbf16>
    %q = model.linear %x, @qkv act_group 128 : tensor<8192x3072xbf16> -> tensor<8192x4096xbf16>
    ```
    becomes
    ```mlir
    %c, %f = model.encode_rows %n group 128 : tensor<4096x3072xbf16> -> tensor<4096x3072xf8E4M3FN>, tensor<4096x24xf32>
    %own = model.join_bytes %c, %f : (tensor<4096x3072xf8E4M3FN>, tensor<4096x24xf32>) -> tensor<4096x3168xui8>
    %all = dist.all_gather %own dim 0 over <@mesh, ["tp"]> rows shares : tensor<4096x3168xui8> -> tensor<8192x3168xui8>
    %codes, %factors = model.split_bytes %all : tensor<8192x3168xui8> -> tensor<8192x3072xf8E4M3FN>, tensor<8192x24xf32>
    %q = model.linear_of_codes %codes, %factors, @qkv act_group 128 : tensor<8192x3072xf8E4M3FN>, tensor<8192x24xf32> -> tensor<8192x4096xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
  let options = [Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">];
}

def SplitStages : Pass<"dist-split-stages", "::mlir::ModuleOp"> {
  let summary = "Cut functions into pipeline stages";
  let description = [{
    Every function becomes one for each stage, cut at `model.layer_boundary`s; the residual stream is the only value that crosses, by `dist.send` and
    `dist.receive`. The embedding belongs to the first stage, the final norm and the logits to the last. Without `layers` the layers are dealt evenly, earlier
    stages getting one more where they do not divide. Boundaries vanish.

    ```mlir
    func.func @decode_1(...) -> tensor<1x200064xf32>
    ```
    becomes
    ```mlir
    func.func @decode_1.stage_0(...) attributes {dist.entry = "decode_1", dist.stage = 0}
    func.func @decode_1.stage_1(...) -> tensor<1x200064xf32> attributes {dist.entry = "decode_1", dist.stage = 1}
    ```
  }];
  let dependentDialects = ["::saddle::dist::DistDialect"];
  let options = [ListOption<"layers", "layers", "int64_t", "Layers of each stage; default: even">];
}

def PredictStep : Pass<"dist-predict-step", "::mlir::ModuleOp"> {
  let summary = "Say what a step of each entry should take on the target's machine";
  let description = [{
    Sums, for one rank, the weights that a full step reads at memory speed (of the experts, the share that uniform routing touches) and the predicted time of its
    collectives (CostModel.h) on the target's machine; in a step with candidates without those that only whole logits need (StepOutputs.h). Activations and launches are not counted, nor states and caches, of which it says what a rank holds of a sequence; so this is a floor with communication, good for comparing topologies. Remarks
    only; nothing changes.

    ```
    remark: @decode_1: 0.989 ms predicted for H200: 1443.0 MB of weights 0.317 ms, 188 collectives 0.672 ms; ...
    ```
  }];
  let options = [Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">];
}

def VerifySPMD : Pass<"dist-verify-spmd", "::mlir::ModuleOp"> {
  let summary = "Close the dist level: one program, the same collectives everywhere";
  let description = [{
    No reshard and no sharding attribute is left; ops read `dist.weight_shard`s, not `model.weight`s; nothing but straight-line code, so all ranks of a group
    meet the same collectives in the same order.
  }];
}

#endif // SADDLE_PASSES_DIST
