// The `dist` dialect: who holds what, who talks to whom. Reference:
// docs/Dialects/Dist.md.

#ifndef SADDLE_DIALECTS_DIST_IR_DISTDIALECT_H
#define SADDLE_DIALECTS_DIST_IR_DISTDIALECT_H

#include "dialects/Dist/IR/MeshUtils.h"
#include "dialects/Model/IR/ModelDialect.h"

#include "dialects/Dist/IR/DistDialect.h.inc"

#include "dialects/Dist/IR/DistEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Dist/IR/DistAttrs.h.inc"

#include "dialects/Dist/Interfaces/CollectiveOpInterface.h.inc"

#define GET_OP_CLASSES
#include "dialects/Dist/IR/DistOps.h.inc"

namespace saddle::dist {

/// The mesh that a symbol names, or an error at `op`.
llvm::FailureOr<Mesh> lookupMesh(mlir::Operation *op,
                                 mlir::FlatSymbolRefAttr symbol,
                                 mlir::SymbolTableCollection &symbols);
Mesh toMesh(MeshOp op);

/// Global type to the type of one rank's share. Null when a split dimension
/// does not divide.
mlir::RankedTensorType localType(mlir::RankedTensorType type,
                                 ShardingAttr sharding, const Mesh &mesh);

/// Prints `["tp", "ep":(1)2]`.
void printAxes(llvm::raw_ostream &os, llvm::ArrayRef<AxisRef> axes);

} // namespace saddle::dist

#endif // SADDLE_DIALECTS_DIST_IR_DISTDIALECT_H
