#include "dialects/InitAllDialects.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Engine/IR/EngineDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"
#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

void saddle::registerAllDialects(mlir::DialectRegistry &registry) {
  registry
      .insert<mlir::func::FuncDialect, model::ModelDialect, dist::DistDialect,
              kernel::KernelDialect, engine::EngineDialect>();
}
