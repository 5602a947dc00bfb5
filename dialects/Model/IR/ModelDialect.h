// The `model` dialect: what a network computes. Reference:
// docs/Dialects/Model.md.

#ifndef SADDLE_DIALECTS_MODEL_IR_MODELDIALECT_H
#define SADDLE_DIALECTS_MODEL_IR_MODELDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Model/IR/ModelEnums.h.inc"
namespace saddle::model {

/// What one unit of a state belongs to.
enum class StateKind {
  Paged,     // a page of tokens: keys and values
  Sequence,  // a sequence as a whole: recurrent
  IndexKeys, // a page of tokens; read to choose what attention reads
};

/// A buffer of a state; its name is the symbol's with `suffix`.
struct StateBuffer {
  llvm::StringRef suffix;
  mlir::MemRefType type;
};

} // namespace saddle::model

#include "dialects/Model/Interfaces/Launch.h"
#include "dialects/Model/Interfaces/StateOpInterface.h.inc"
#include "dialects/Model/Interfaces/SymbolUses.h"

#include "dialects/Model/Interfaces/LaunchOpInterface.h.inc"
#include "dialects/Model/Interfaces/SymbolUserInterfaces.h.inc"

#include "dialects/Model/IR/ModelDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Model/IR/ModelAttrs.h.inc"

#include "dialects/Model/Interfaces/WeightOpInterface.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Model/IR/ModelTypes.h.inc"

namespace saddle::model {

/// The `dims` of a weight: ["q_heads" x 128, "hidden"].
mlir::ParseResult parseDims(mlir::OpAsmParser &parser, mlir::ArrayAttr &dims);
void printDims(mlir::OpAsmPrinter &printer, mlir::Operation *op,
               mlir::ArrayAttr dims);

} // namespace saddle::model

#define GET_OP_CLASSES
#include "dialects/Model/IR/ModelOps.h.inc"

namespace saddle::model {

/// Rows of bytes that hold a row of each of several tensors: where each begins,
/// at the next multiple of 16 bytes, and where the row ends.
struct RowBytes {
  explicit RowBytes(mlir::TypeRange parts);

  llvm::SmallVector<int64_t> offsets;
  int64_t total = 0;
};

/// Bounds that the engine is built for; `model.limits` of the module.
struct Limits {
  int64_t maxBatch;
  int64_t maxSeqLen;
  int64_t prefillChunk;
  int64_t pageSize;

  /// Pages of one sequence of max_seq_len tokens.
  int64_t pagesPerSequence() const {
    return (maxSeqLen + pageSize - 1) / pageSize;
  }

  static llvm::FailureOr<Limits> get(mlir::ModuleOp module);
  void set(mlir::ModuleOp module) const;
};

} // namespace saddle::model

#endif // SADDLE_DIALECTS_MODEL_IR_MODELDIALECT_H
