#ifndef SADDLE_DIST_ATTRS
#define SADDLE_DIST_ATTRS

include "dialects/Dist/IR/DistEnums.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Dist_Dialect : Dialect {
  let name = "dist";
  let cppNamespace = "::saddle::dist";
  let summary = "Who holds what, and who talks to whom";
  let description = [{
    Adds devices to a `model` program: a mesh with named axes, shardings with partial sums, and collectives. Programs are SPMD: all ranks of a stage run the
    same ops, and the rank enters only through weight shards and rank values.

    A module passes through two states. Before `dist-partition` types are global and shardings are attributes: `dist.sharding` on weights and caches,
    `dist.shardings` (one for each result) on ops. After it types are local, weights are `dist.weight_shard`s and no sharding attribute is left.
    `dist-verify-spmd` closes the level.
  }];
  // Its ops get their sharding rules when this dialect is loaded.
  let dependentDialects = ["::saddle::model::ModelDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    static constexpr ::llvm::StringLiteral kShardingAttrName = "dist.sharding";
    static constexpr ::llvm::StringLiteral kShardingsAttrName = "dist.shardings";
    static constexpr ::llvm::StringLiteral kVocabStartAttrName = "dist.vocab_start";
    static constexpr ::llvm::StringLiteral kExpertStartAttrName = "dist.expert_start";
    static constexpr ::llvm::StringLiteral kHeadStartAttrName = "dist.head_start";
    static constexpr ::llvm::StringLiteral kTopologyAttrName = "dist.topology";
    static constexpr ::llvm::StringLiteral kStageAttrName = "dist.stage";
    static constexpr ::llvm::StringLiteral kEntryAttrName = "dist.entry";
    static constexpr ::llvm::StringLiteral kTokenAxisAttrName = "dist.token_axis";
    static constexpr ::llvm::StringLiteral kChoicesAttrName = "dist.choices";
  }];
}

class Dist_Attr<string name, string attrMnemonic> : AttrDef<Dist_Dialect, name> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def Dist_ShardingAttr : Dist_Attr<"Sharding", "sharding"> {
  let summary = "how a tensor is laid over a mesh";
  let description = [{
    For each dimension the mesh axis that splits it, or none; and the axes over which the value is a partial sum ("unreduced"): the true value is the sum
    over the ranks along those axes. Along any other axis the value is replicated.

    An axis is a name, or a part of one: `"tp":(2)4` is the factor of size 4 after a major factor of size 2. With 8 ranks on "tp" and 4 KV heads,
    `"tp":(1)4` gives ranks 2j and 2j+1 head j.

    ```mlir
    #dist.sharding<@mesh, [_, "tp"]>
    #dist.sharding<@mesh, [_, _] unreduced ["tp"]>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$mesh, ArrayRefParameter<"::saddle::dist::AxisRef">:$dims,
      OptionalArrayRefParameter<"::saddle::dist::AxisRef">:$unreduced);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// Same on every rank and complete.
    bool isReplicated() const;
    /// No dimension is split; it may be a partial sum.
    bool isUnsplit() const;
    static ShardingAttr getReplicated(::mlir::FlatSymbolRefAttr mesh, int64_t rank);
  }];
}

def Dist_AxesAttr : Dist_Attr<"Axes", "axes"> {
  let summary = "mesh axes along which ranks form groups";
  let description = [{
    Ranks that differ only along these axes form one group.

    ```mlir
    #dist.axes<@mesh, ["tp"]>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$mesh, ArrayRefParameter<"::saddle::dist::AxisRef">:$axes);
  let hasCustomAssemblyFormat = 1;
}

def Dist_RankValueAttr : Dist_Attr<"RankValue", "rank_value"> {
  let summary = "a number that depends on the rank";
  let description = [{
    `base + ((rank / divisor) mod modulus) * step`: the only way in which a rank enters a program.

    ```mlir
    #dist.rank_value<0 + (rank div 1 mod 8) * 768>
    ```
  }];
  let parameters = (ins "int64_t":$base, "int64_t":$divisor, "int64_t":$modulus, "int64_t":$step);
  let assemblyFormat = "`<` $base `+` `(` `rank` `div` $divisor `mod` $modulus `)` `*` $step `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t evaluate(int64_t rank) const { return getBase() + ((rank / getDivisor()) % getModulus()) * getStep(); }
    static RankValueAttr getConstant(::mlir::MLIRContext *context, int64_t value) { return get(context, value, 1, 1, 0); }
  }];
}

def Dist_RowLayoutAttr : EnumAttr<Dist_Dialect, Dist_RowLayout, "row_layout">;

#endif // SADDLE_DIST_ATTRS
