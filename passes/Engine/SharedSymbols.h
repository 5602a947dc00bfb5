// Symbols of the module that the entries of a program share.

#ifndef SADDLE_PASSES_ENGINE_SHAREDSYMBOLS_H
#define SADDLE_PASSES_ENGINE_SHAREDSYMBOLS_H

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Engine/IR/EngineDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace saddle::engine {

/// Creates module-level symbols on demand at the module's end, one for equal
/// content.
class SharedSymbols {
public:
  /// `symbols` finds the mesh, of which there is one for each of `stages`.
  SharedSymbols(mlir::ModuleOp module, const mlir::SymbolTable &symbols,
                int64_t stages);

  /// A new arena, empty and of alignment 1 until memory is planned.
  mlir::FlatSymbolRefAttr arena(llvm::StringRef name, ArenaKind kind);
  /// The kernel `op` with these constants, or with a body and its temporaries
  /// (null when there are none).
  mlir::FlatSymbolRefAttr kernel(llvm::StringRef op,
                                 llvm::ArrayRef<mlir::NamedAttribute> constants,
                                 mlir::ArrayAttr body = {},
                                 mlir::ArrayAttr temporaries = {});
  /// The ranks of every stage in groups along `axes`.
  mlir::FlatSymbolRefAttr rankGroups(dist::AxesAttr axes);
  /// The record of a group's signature, with the ops of the first such group.
  mlir::FlatSymbolRefAttr fusion(kernel::GroupOp group);

private:
  mlir::FlatSymbolRefAttr ref(llvm::StringRef name);

  mlir::ModuleOp module;
  const mlir::SymbolTable &symbols;
  int64_t stages;
  mlir::OpBuilder builder;
  llvm::DenseMap<std::tuple<mlir::StringAttr, mlir::DictionaryAttr,
                            mlir::ArrayAttr, mlir::ArrayAttr>,
                 mlir::FlatSymbolRefAttr>
      kernels;
  llvm::StringMap<int64_t> counts;
  llvm::DenseMap<mlir::Attribute, mlir::FlatSymbolRefAttr> groups;
  llvm::DenseMap<mlir::StringAttr, mlir::FlatSymbolRefAttr> fusions;
};

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_SHAREDSYMBOLS_H
