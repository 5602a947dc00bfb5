#ifndef SADDLE_MODEL_BASE
#define SADDLE_MODEL_BASE

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

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
    - `model.ignored_sources`, if there are any: checkpoint tensors that nothing reads, each with the `reason`, its `stack` and the `type` of one member.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    static constexpr ::llvm::StringLiteral kConfigAttrName = "model.config";
    static constexpr ::llvm::StringLiteral kLimitsAttrName = "model.limits";
    static constexpr ::llvm::StringLiteral kIgnoredSourcesAttrName = "model.ignored_sources";
    static constexpr ::llvm::StringLiteral kPhaseAttrName = "model.phase";
  }];
}

class Model_Op<string mnemonic, list<Trait> traits = []> : Op<Model_Dialect, mnemonic, traits>;

def Model_ContextType : TypeDef<Model_Dialect, "Context"> {
  let mnemonic = "context";
  let summary = "Which sequences a step's tokens belong to";
  let description = [{
    Per-step metadata of a ragged batch: for each token its position, its sequence and its KV slot, and the sequences' block tables. Opaque here; it
    becomes the step inputs of docs/Runtime.md in the `engine` dialect.
  }];
}

#endif // SADDLE_MODEL_BASE
