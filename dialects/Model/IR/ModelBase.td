#ifndef SADDLE_MODEL_BASE
#define SADDLE_MODEL_BASE

include "dialects/Model/Interfaces/LaunchOpInterface.td"
include "dialects/Model/Interfaces/SymbolUserInterfaces.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Model_Dialect : Dialect {
  let name = "model";
  let cppNamespace = "::saddle::model";
  let summary = "What a language model computes: global shapes, no devices";
  let description = [{
    A network as its authors describe it: value semantics, global shapes, weights as symbols that name checkpoint tensors. Nothing says which
    device does what (`dist`), how work is grouped into launches (`kernel`) or where bytes lie (`engine`).

    Token dimensions are `?` after import and static after `model-specialize-buckets`.

    The module carries these attributes:
    - `model.config`: a dictionary of facts about the model (architecture, hidden size, layers, vocabulary, end-of-sequence ids, fingerprint);
    - `model.limits`: `max_batch`, `max_seq_len`, `prefill_chunk`, `page_size`, all positive integers;
    - `model.ignored_sources`, if there are any: checkpoint tensors that nothing reads, each with the `reason`, its `stack`, the `type` of one member, and perhaps a `group`: element i must be i / group, or `zero`: all of it must be zero. Those of another checkpoint than the model's own are keyed "CHECKPOINT:TENSOR";
    - `model.stored_parts`, if there are any: where the folder has tensors otherwise than weights and ignored sources name them. A list of dictionaries with `name`, `tensor`, `stack`, `columns`, `first`, `count`, `of`, as `StoredPart` of `runtime/src/checkpoint/Parts.h`;
    - `model.checkpoints`, if weights are `of` other checkpoints than the model's own: their fingerprints by name.

    A function may carry:
    - `model.program`: the program that it belongs to, "main" unless it says so; from `model-specialize-buckets` on `model.phase`;
    - `model.outputs`: the names of what it returns, in order, unless they are the first ones that a step yields (docs/Runtime.md).
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    static constexpr ::llvm::StringLiteral kConfigAttrName = "model.config";
    static constexpr ::llvm::StringLiteral kLimitsAttrName = "model.limits";
    static constexpr ::llvm::StringLiteral kIgnoredSourcesAttrName = "model.ignored_sources";
    static constexpr ::llvm::StringLiteral kStoredPartsAttrName = "model.stored_parts";
    static constexpr ::llvm::StringLiteral kCheckpointsAttrName = "model.checkpoints";
    static constexpr ::llvm::StringLiteral kPhaseAttrName = "model.phase";
    static constexpr ::llvm::StringLiteral kProgramAttrName = "model.program";
    static constexpr ::llvm::StringLiteral kOutputsAttrName = "model.outputs";
    static constexpr ::llvm::StringLiteral kMainProgram = "main";

    /// The name of the program that a function belongs to.
    static ::llvm::StringRef getProgram(::mlir::Operation *function);
  }];
}

/// A symbol of the module.
class Model_Op<string mnemonic, list<Trait> traits = []> : Op<Model_Dialect, mnemonic, traits>;

class Model_Trait<string name> : NativeOpTrait<name> {
  let cppNamespace = "::saddle::model";
}
def DeclaresSymbols : Model_Trait<"DeclaresSymbols">;
/// Each row of the result comes from the same row of the operands, whole. No sharding rule has to be written then.
def RowByRow : Model_Trait<"RowByRow">;
/// Each element of the result comes from those in its place: the rule splits rows and columns alike, as the first operand is split.
def Pointwise : Model_Trait<"Pointwise">;
def NormalizesRows : Model_Trait<"NormalizesRows">;

/// An op of a step. It says what it launches, and which weights and state it uses when it names any; how it may be sharded stands in
/// dialects/Dist/Interfaces/ModelRules.cpp.
class Model_StepOp<string mnemonic, list<Trait> traits = []>
    : Model_Op<mnemonic, !listconcat([DeclaresSymbols, DeclareOpInterfaceMethods<LaunchOpInterface>], traits)>;

/// The same for an op that reads weights.
class Model_WeightedOp<string mnemonic, list<Trait> traits = []>
    : Model_StepOp<mnemonic, !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>, DeclareOpInterfaceMethods<WeightUserOpInterface>], traits)>;

def Model_ContextType : TypeDef<Model_Dialect, "Context"> {
  let mnemonic = "context";
  let summary = "Which sequences a step's tokens belong to";
  let description = [{
    Per-step metadata of a ragged batch: for each token its position, its sequence and its KV slot, and the sequences' block tables. Opaque here; it
    becomes the step inputs of docs/Runtime.md in the `engine` dialect.
  }];
}

#endif // SADDLE_MODEL_BASE
