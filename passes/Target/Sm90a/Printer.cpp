#include "passes/Target/Sm90a/Printer.h"

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

/// `rankValues`: of the constants before.
static void printConstants(llvm::raw_ostream &os, DictionaryAttr constants,
                           size_t &rankValues) {
  for (NamedAttribute constant : constants) {
    os << "//   " << constant.getName().getValue() << " = ";
    if (auto value = dyn_cast<IntegerAttr>(constant.getValue()))
      os << value.getInt();
    else if (auto value = dyn_cast<FloatAttr>(constant.getValue()))
      os << llvm::format("%.9g", value.getValueAsDouble());
    else if (isa<dist::RankValueAttr>(constant.getValue()))
      os << "p.rankValues[" << rankValues++ << "]";
    else
      os << constant.getValue(); // how weights are stored
    os << "\n";
  }
}

static void printHead(llvm::raw_ostream &os, const PrintedKernel &kernel) {
  const LaunchDesc &launch = kernel.launch;
  os << "// " << kernel.name << ": " << launch.op;
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
  size_t rankValues = 0;
  printConstants(os, launch.constants, rankValues);
  for (const LaunchStep &step : launch.body) {
    os << "// " << step.op << "(";
    llvm::interleaveComma(step.values, os);
    os << ")\n";
    printConstants(os, step.constants, rankValues);
  }
  os << "// " << kernel.launches
     << (kernel.launches == 1 ? " launch, at " : " launches, first at ")
     << kernel.firstPlace << "\n";
}

static void printFunction(llvm::raw_ostream &os, StringRef name,
                          const FunctionPlan &function) {
  os << "// Grid " << function.grid[0] << " x " << function.grid[1] << " x "
     << function.grid[2];
  if (function.exclusiveGrid > 0)
    os << ", with a device for each rank " << function.exclusiveGrid;
  os << ", " << function.sharedBytes << " bytes of dynamic shared memory.\n";
  os << "extern \"C\" __global__ void ";
  if (function.cluster > 1)
    os << "__cluster_dims__(" << function.cluster << ", 1, 1) ";
  os << "__launch_bounds__(" << function.block;
  if (function.residentBlocks > 0)
    os << ", " << function.residentBlocks;
  os << ")\n    " << name << "(const __grid_constant__ LaunchParams p) {\n";
  if (!function.waitsItself) {
    if (function.next == Next::AtOnce)
      os << "  allowNext();\n";
    os << "  waitForPrevious();\n";
    if (function.next == Next::WhenWaited)
      os << "  allowNext();\n";
  }
  SmallVector<StringRef> lines;
  StringRef(function.body).rtrim('\n').split(lines, '\n');
  for (StringRef line : lines)
    os << (line.empty() ? "" : "  ") << line << "\n";
  os << "}\n";
}

static void printIncludes(llvm::raw_ostream &os,
                          const std::set<std::string> &headers) {
  for (const std::string &header : headers)
    os << "#include \"runtime/kernels/" << header << "\"\n";
  os << "\nnamespace saddle::device {\n\n";
}

static void printFunctions(llvm::raw_ostream &os, StringRef kernel,
                           const KernelPlan &plan) {
  for (const FunctionPlan &function : plan.functions) {
    printFunction(os, functionName(kernel, function), function);
    os << "\n";
  }
}

static constexpr StringRef kLaunchHeader = "ptx/launch.cuh";
static constexpr StringRef kEnd = "} // namespace saddle::device\n";

std::string
saddle::cuda::printSource(llvm::ArrayRef<const PrintedKernel *> kernels) {
  std::string source;
  llvm::raw_string_ostream os(source);
  std::set<std::string> headers = {kLaunchHeader.str()};
  for (const PrintedKernel *kernel : kernels)
    headers.insert(kernel->plan.headers.begin(), kernel->plan.headers.end());
  printIncludes(os, headers);
  for (const PrintedKernel *kernel : kernels) {
    printHead(os, *kernel);
    printFunctions(os, kernel->name, kernel->plan);
  }
  os << kEnd;
  return source;
}

std::string saddle::cuda::printUtility(StringRef kernel, StringRef head,
                                       const KernelPlan &plan) {
  std::string source;
  llvm::raw_string_ostream os(source);
  std::set<std::string> headers(plan.headers.begin(), plan.headers.end());
  headers.insert(kLaunchHeader.str());
  printIncludes(os, headers);
  os << head;
  printFunctions(os, kernel, plan);
  os << kEnd;
  return source;
}
