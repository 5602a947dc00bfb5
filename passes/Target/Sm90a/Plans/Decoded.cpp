#include "passes/Target/Sm90a/Plans/Decoded.h"

#include "passes/Target/Sm90a/Plans/Packed.h"
#include "runtime/kernels/shared/experts.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using llvm::formatv;
using namespace saddle;
using namespace saddle::cuda;

/// Bits of a code that EightColumns knows, else 0.
static int64_t bitsOf(const Operand &elements) {
  const ops::Encoding &encoding = elements.encoding;
  if (encoding.rotated != 0 || encoding.zero >= 256)
    return 0;
  if (encoding.perElement == 2)
    return encoding.zero < 128 ? 4 : 0;
  bool isByte =
      elements.element.isUnsignedInteger(8) ||
      (encoding.zero == 0 && (elements.element.isSignedInteger(8) ||
                              isa<Float8E4M3FNType>(elements.element)));
  return isByte ? 8 : 0;
}

int64_t saddle::cuda::decodedBits(const StoredWeight &weight, int64_t rows) {
  const Operand &elements = weight.elements, *scale = weight.scale,
                *zero = weight.zero, *global = weight.globalScale;
  int64_t bits = bitsOf(elements), cols = weight.cols();
  int64_t stride = elements.strides[elements.strides.size() - 2];
  if (bits == 0 || !scale || elements.alignment < 16 || stride % 16 != 0 ||
      cols % (128 / bits) != 0)
    return 0;
  auto isOfRows = [&](const Operand &companion) {
    int64_t block = companion.blockCols;
    return rows % companion.blockRows == 0 && companion.alignment >= 4 &&
           ((block >= cols && block >= 64) || block % 64 == 0 || block == 32 ||
            block == 16);
  };
  if (!isOfRows(*scale) ||
      !(scale->element.isF32() ||
        isa<Float8E4M3FNType, Float8E8M0FNUType>(scale->element)))
    return 0;
  if (zero && (!isOfRows(*zero) || !zero->element.isUnsignedInteger(8) ||
               elements.encoding.zero != 0 ||
               elements.encoding.codes == schema::Codes::E2M1))
    return 0;
  if (global && (!global->element.isF32() || global->blockCols < cols ||
                 rows % global->blockRows != 0))
    return 0;
  return bits;
}

int64_t saddle::cuda::leastDecodedTokens(int64_t bits) {
  return bits == 4 ? 33 : 3;
}

std::optional<KernelPlan>
saddle::cuda::planLinearDecoded(const LaunchDesc &launch,
                                const StoredWeight &w) {
  const Operand &x = launch.operands[0], &out = launch.operands.back();
  int64_t tokens = x.shape[0], rows = w.elements.shape[0];
  int64_t bits = decodedBits(w, rows);
  if (bits == 0 || !canPlaceTokens(x) || !canWriteTiles(out) ||
      launch.integer("act_group") > 0 || tokens < leastDecodedTokens(bits))
    return std::nullopt;
  TileShape tile = tileFor(tokens, rows, 0, bits);
  KernelPlan plan;
  plan.headers = {"impls/linear_tile.cuh"};
  std::string xType = matrixType(x), weights = w.type();
  plan.functions.push_back(tile.function(
      "",
      formatv("linearTile<{0}, {1}, {2}, {3}, {4}>(p, p.operands[0], nullptr, "
              "nullptr);",
              extentNumber(launch), xType, weights, matrixType(out),
              tile.text(xType, weights)),
      ceilDiv(rows, tile.rows()) * ceilDiv(tokens, tile.tokens())));
  return plan;
}

std::optional<KernelPlan>
saddle::cuda::planExpertsDecoded(const ExpertsLaunch &op) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  int64_t bits = decodedBits(op.stored13, 2 * op.inner());
  if (bits == 0 || decodedBits(op.stored2, op.hidden()) != bits ||
      !canPlaceTokens(op.x) || !op.out.element.isBF16() || op.group > 0 ||
      op.inner() % 64 != 0 || op.hidden() % 8 != 0 || op.held() > 2048 ||
      op.pairs() > kLargest || op.held() * 2 * op.inner() > kLargest ||
      op.held() * op.hidden() > kLargest ||
      (bits == 4 ? op.tokensPerExpert() <= 12
                 : op.tokens() < leastDecodedTokens(bits)))
    return std::nullopt;
  TileShape tile(2, 2, 0, bits);
  int64_t held = op.held(), pairs = op.pairs(), tokens = tile.tokens();
  int64_t blocks = device::mostExpertBlocks(held, pairs, tokens);
  ExpertsWorkspace workspace;
  std::string planAt = workspace.add(
      formatv("ExpertPlan<{0}, {1}, {2}>", held, pairs, tokens).str(),
      device::expertPlanBytes(held, pairs, tokens));
  std::string inner = workspace.add("bf16", pairs * op.inner() * 2);
  // Weights and activations have been rounded to bf16: once more is too much.
  std::string products = workspace.add("float", pairs * op.hidden() * 4);
  std::string xType = matrixType(op.x), w13 = op.stored13.type(),
              w2 = op.stored2.type();
  std::string innerType =
      formatv("Matrix<bf16, {0}, {1}, {1}>", pairs, op.inner());

  KernelPlan plan;
  plan.headers = {"impls/experts_tile.cuh"};
  plan.functions.push_back(sortFunction(op, planAt));
  plan.functions.push_back(tile.function(
      "up",
      formatv("expertsUpTile<{0}, {1}, {2}, NoCompanion, PlainTokens>(p, {3}, "
              "p.operands[0], nullptr, {4}, nullptr);",
              op.slots(), w13, tile.text(xType, w13), planAt, inner),
      blocks * ceilDiv(op.inner(), 128)));
  plan.functions.push_back(tile.function(
      "down",
      formatv("expertsDownTile<{0}, {1}, {2}, NoCompanion, PlainTokens>(p, "
              "{3}, {4}, nullptr, {5}, nullptr);",
              op.stored2.number, w2, tile.text(innerType, w2), planAt, inner,
              products),
      blocks * ceilDiv(op.hidden(), tile.rows())));
  plan.functions.push_back(combineFunction(op, products));
  plan.workspaceBytes = workspace.bytes;
  return plan;
}
