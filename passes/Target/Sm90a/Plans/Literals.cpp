#include "passes/Target/Sm90a/Plans/Literals.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

std::string saddle::cuda::floatLiteral(double value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.9g", static_cast<double>(static_cast<float>(value)));
  if (text.find_first_of(".en") == std::string::npos)
    os << ".0";
  os << "f";
  return text;
}

std::string saddle::cuda::rowsType(const Operand &operand, int64_t cols) {
  assert(operand.isContiguous() && "only dense operands can be folded");
  return llvm::formatv("Matrix<{0}, {1}, {2}, {2}>",
                       deviceType(operand.element), operand.elements() / cols,
                       cols);
}

static int64_t bytesOf(const Operand &operand) {
  return operand.element.getIntOrFloatBitWidth() / 8;
}

int64_t saddle::cuda::commonVector(ArrayRef<const Operand *> operands) {
  int64_t widest = 1;
  for (const Operand *operand : operands)
    widest = std::max(widest, bytesOf(*operand));
  int64_t count = 16 / widest;
  bool fits = llvm::all_of(operands, [&](const Operand *operand) {
    int64_t stride = operand->shape.size() < 2
                         ? operand->shape.back()
                         : operand->strides[operand->shape.size() - 2];
    return operand->shape.back() % count == 0 && stride % count == 0 &&
           std::min<int64_t>(operand->alignment, 16) %
                   (count * bytesOf(*operand)) ==
               0;
  });
  return fits ? count : 1;
}

uint32_t saddle::cuda::threadsFor(int64_t pieces, uint32_t most) {
  return static_cast<uint32_t>(std::clamp<int64_t>(
      llvm::alignTo(std::max<int64_t>(pieces, 1), 32), 32, most));
}
