#include "passes/Target/Sm90a/KernelPlan.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace saddle::cuda;

bool Operand::isContiguous() const {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (strides[i] != expected && shape[i] != 1)
      return false;
    expected *= shape[i];
  }
  return true;
}

int64_t Operand::elements() const {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

const Operand *LaunchDesc::find(StringRef name) const {
  auto found = llvm::find_if(
      operands, [&](const Operand &operand) { return operand.name == name; });
  return found == operands.end() ? nullptr : &*found;
}

static int64_t integerOf(DictionaryAttr constants, StringRef name) {
  auto value = constants.getAs<IntegerAttr>(name);
  assert(value && "the op's signature has this constant");
  return value.getInt();
}

static double realOf(DictionaryAttr constants, StringRef name) {
  auto value = constants.getAs<FloatAttr>(name);
  assert(value && "the op's signature has this constant");
  return value.getValueAsDouble();
}

int64_t LaunchDesc::integer(StringRef name) const {
  return integerOf(constants, name);
}
double LaunchDesc::real(StringRef name) const {
  return realOf(constants, name);
}
int64_t LaunchStep::integer(StringRef name) const {
  return integerOf(constants, name);
}
double LaunchStep::real(StringRef name) const {
  return realOf(constants, name);
}

StringRef saddle::cuda::deviceType(Type element) {
  if (element.isF32())
    return "f32";
  if (element.isBF16())
    return "bf16";
  if (element.isF16())
    return "f16";
  if (isa<Float8E4M3FNType>(element))
    return "e4m3";
  if (isa<Float8E8M0FNUType>(element))
    return "e8m0";
  if (element.isUnsignedInteger(8))
    return "u8";
  if (element.isSignedInteger(8))
    return "i8";
  if (element.isInteger(32))
    return "i32";
  if (element.isInteger(64))
    return "int64_t";
  return "";
}

std::string saddle::cuda::matrixType(const Operand &operand) {
  int64_t cols = operand.shape.back();
  int64_t rows = operand.elements() / cols;
  int64_t stride = operand.shape.size() < 2
                       ? cols
                       : operand.strides[operand.shape.size() - 2];
  std::string text = "Matrix<";
  llvm::raw_string_ostream os(text);
  os << deviceType(operand.element) << ", " << rows << ", " << cols << ", "
     << stride;
  if (operand.alignment < 16)
    os << ", " << operand.alignment;
  os << ">";
  return text;
}
