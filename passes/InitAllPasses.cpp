#include "passes/InitAllPasses.h"

#include "mlir/Transforms/Passes.h"

void saddle::registerAllPasses() {
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
}
