// mlir-opt with Saddle's dialects and passes.

#include "compiler/Pipelines/Pipelines.h"
#include "dialects/InitAllDialects.h"
#include "passes/InitAllPasses.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  saddle::registerAllDialects(registry);
  saddle::registerAllPasses();
  saddle::registerAllPipelines();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Saddle's optimizer driver\n", registry));
}
