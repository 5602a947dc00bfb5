#include "passes/Cuda/Printer.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <set>

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

std::string saddle::cuda::functionName(StringRef kernel,
                                       const FunctionPlan &function) {
  std::string name = kernel.str();
  if (!function.suffix.empty())
    name += "_" + function.suffix;
  return name;
}

/// "bf16[64, 3072]", with the row stride of a view.
static void printOperand(llvm::raw_ostream &os, const Operand &operand) {
  os << deviceType(operand.element) << "[";
  llvm::interleaveComma(operand.shape, os);
  os << "]";
  if (!operand.isContiguous())
    os << " in rows of " << operand.strides[operand.strides.size() - 2];
}

static void printConstants(llvm::raw_ostream &os, DictionaryAttr constants) {
  size_t rankValues = 0;
  for (NamedAttribute constant : constants) {
    os << "//   " << constant.getName().getValue() << " = ";
    if (auto value = dyn_cast<IntegerAttr>(constant.getValue()))
      os << value.getInt();
    else if (auto value = dyn_cast<FloatAttr>(constant.getValue()))
      os << llvm::format("%.9g", value.getValueAsDouble());
    else
      os << "p.rankValues[" << rankValues++ << "]";
    os << "\n";
  }
}

static void printHead(llvm::raw_ostream &os, const LaunchDesc &launch,
                      const KernelUses &uses) {
  os << "// " << launch.op;
  if (launch.groupSize > 1)
    os << " over groups of " << launch.groupSize;
  os << ", up to " << launch.capacity << " rows ("
     << engine::stringifyExtent(launch.extent) << ")";
  if (launch.outputExtent != launch.extent)
    os << " becoming " << engine::stringifyExtent(launch.outputExtent);
  os << ":\n";
  size_t width = 0;
  for (const Operand &operand : launch.operands)
    width = std::max(width, operand.name.size());
  for (const Operand &operand : launch.operands) {
    os << "//   " << llvm::left_justify(operand.name, width) << " ";
    printOperand(os, operand);
    os << "\n";
  }
  if (launch.rows)
    os << "//   along rows, " << dist::stringifyRowLayout(*launch.rows) << "\n";
  else if (launch.op == "all_gather" || launch.op == "reduce_scatter_sum")
    os << "//   along dimension " << launch.dim << "\n";
  printConstants(os, launch.constants);
  os << "// " << uses.launches
     << (uses.launches == 1 ? " launch, at " : " launches, first at ")
     << uses.firstPlace << "\n";
}

static void printFunction(llvm::raw_ostream &os, StringRef name,
                          const FunctionPlan &function) {
  os << "// Grid " << function.grid[0] << " x " << function.grid[1] << " x "
     << function.grid[2] << ", " << function.sharedBytes
     << " bytes of dynamic shared memory.\n";
  os << "extern \"C\" __global__ void __launch_bounds__(" << function.block;
  if (function.residentBlocks > 0)
    os << ", " << function.residentBlocks;
  os << ")\n    " << name << "(const __grid_constant__ LaunchParams p) {\n"
     << "  waitForPrevious();\n";
  SmallVector<StringRef> lines;
  StringRef(function.body).rtrim('\n').split(lines, '\n');
  for (StringRef line : lines)
    os << (line.empty() ? "" : "  ") << line << "\n";
  os << "}\n";
}

std::string saddle::cuda::printSource(StringRef kernel,
                                      const LaunchDesc &launch,
                                      const KernelPlan &plan,
                                      const KernelUses &uses) {
  std::string source;
  llvm::raw_string_ostream os(source);
  printHead(os, launch, uses);
  os << "\n";
  std::set<std::string> headers(plan.headers.begin(), plan.headers.end());
  headers.insert("ptx/launch.cuh");
  for (const std::string &header : headers)
    os << "#include \"runtime/kernels/" << header << "\"\n";
  os << "\nnamespace saddle::device {\n";
  for (const FunctionPlan &function : plan.functions) {
    os << "\n";
    printFunction(os, functionName(kernel, function), function);
  }
  os << "\n} // namespace saddle::device\n";
  return source;
}
