#include "passes/InitAllPasses.h"

#include "passes/Dist/Passes.h"
#include "passes/Engine/Passes.h"
#include "passes/Kernel/Passes.h"
#include "passes/Model/Passes.h"

#include "mlir/Transforms/Passes.h"

void saddle::registerAllPasses() {
  model::registerSaddleModelPasses();
  dist::registerSaddleDistPasses();
  kernel::registerSaddleKernelPasses();
  engine::registerSaddleEnginePasses();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
}
