include "mlir/IR/OpBase.td"
include "models/A.td"
