#include "test/gpu/KernelCheck/Compare.h"

#include "runtime/src/base/Convert.h"
#include "runtime/src/cpu/Binding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace saddle::check {

using schema::DType;

double boundOf(const LaunchCase &launch, size_t output) {
  std::string op = launch.kernel->op()->str();
  // Values only move.
  if (op == "embedding" || op == "select_rows" || op == "top_candidates" ||
      op == "merge_candidates")
    return 0;
  const schema::Slice &slice = *launch.entry->slices()->Get(
      launch.launch->operands()->Get(uint32_t(output)));
  // Quantising the hidden row of an expert: a sum that differs in its last bit
  // may fall to the other side of an e4m3 step, up to 1/8 of that element.
  // Outputs sum over the row, so their size goes with the root of its length:
  // four such elements move one by 4/8 of an element out of that many.
  const schema::Attribute *group =
      cpu::findAttribute(*launch.kernel, "act_group");
  bool quantises = group && group->int_value() > 0;
  if (quantises && (op == "experts" || op == "experts_scaled")) {
    uint32_t w2 = launch.launch->operands()->Get(op == "experts" ? 4 : 5);
    double inner = double(launch.entry->slices()->Get(w2)->shape()->Get(2));
    return std::max(1e-2, 0.5 / std::sqrt(inner));
  }
  switch (slice.dtype()) {
  case DType::F8E4M3: // one step of three mantissa bits
    return 0.0625 * 1.01;
  case DType::BF16: // one step of seven
    return 0x1p-7 * 1.01;
  default:
    // Order of addition: eps * sqrt(terms), terms up to some thousand.
    return 2e-5;
  }
}

namespace {

/// Elements of one output that are real, row by row.
class Rows {
public:
  Rows(const View &view, uint64_t count) : view(view), count(count) {
    width = view.shape[view.rank - 1];
    for (unsigned i = 1; i + 1 < view.rank; ++i)
      inner *= view.shape[i];
  }
  uint64_t number() const { return count * inner; }
  uint64_t columns() const { return width; }
  uint8_t *start(uint64_t row) const {
    uint64_t offset = row / inner * view.strides[0], rest = row % inner;
    for (unsigned i = view.rank - 1; i-- > 1;) {
      offset += rest % view.shape[i] * view.strides[i];
      rest /= view.shape[i];
    }
    return view.data + offset * elementBytes(view.dtype);
  }
  uint64_t bytes() const { return width * elementBytes(view.dtype); }

private:
  View view;
  uint64_t count, width, inner = 1;
};

} // namespace

static Status differ(const LaunchCase &launch, size_t output, uint64_t row,
                     uint64_t column, double found, double expected) {
  return makeError(StatusCode::Internal,
                   "%s: output %zu, row %llu, column %llu: found %.9g, "
                   "expected %.9g",
                   launch.kernel->name()->c_str(), output,
                   (unsigned long long)row, (unsigned long long)column, found,
                   expected);
}

static StatusOr<double> compareOutput(const LaunchCase &launch, size_t output,
                                      uint64_t count, const View &expected,
                                      const View &found) {
  Rows ours(expected, count), theirs(found, count);
  uint64_t width = ours.columns();
  std::vector<float> a(width), b(width);
  double worst = 0, bound = boundOf(launch, output);
  for (uint64_t row = 0; row < ours.number(); ++row) {
    uint8_t *x = ours.start(row), *y = theirs.start(row);
    if (expected.dtype == DType::I32) {
      for (uint64_t i = 0; i < width; ++i) {
        int32_t wanted, got;
        std::memcpy(&wanted, x + 4 * i, 4);
        std::memcpy(&got, y + 4 * i, 4);
        if (wanted != got)
          return differ(launch, output, row, i, got, wanted);
      }
    } else if (std::memcmp(x, y, ours.bytes()) != 0) {
      loadRow(x, expected.dtype, a.data(), width);
      loadRow(y, expected.dtype, b.data(), width);
      double largest = 1e-30;
      for (float value : a)
        largest = std::max(largest, std::fabs(double(value)));
      for (uint64_t i = 0; i < width; ++i) {
        double error = std::fabs(double(a[i]) - double(b[i])) / largest;
        if (!(error <= bound)) // NaN too
          return differ(launch, output, row, i, b[i], a[i]);
        worst = std::max(worst, error);
      }
    }
    std::memset(x, 0, ours.bytes());
    std::memset(y, 0, theirs.bytes());
  }
  return worst;
}

StatusOr<double> compareOperands(const LaunchCase &launch, uint64_t count,
                                 std::vector<OperandBuffer> &expected,
                                 std::vector<OperandBuffer> &found) {
  double worst = 0;
  size_t cache = updatesCaches(launch) ? cpu::factsOf(*launch.kernel).cache
                                       : cpu::OpFacts::kNone;
  for (size_t i = firstOutput(launch); i < expected.size(); ++i) {
    uint64_t rows = i >= cache ? expected[i].view().shape[0] : count;
    SADDLE_ASSIGN_OR_RETURN(
        double error,
        compareOutput(launch, i, rows, expected[i].view(), found[i].view()));
    worst = std::max(worst, error);
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::vector<uint8_t> &x = expected[i].bytes(), &y = found[i].bytes();
    auto [at, there] = std::mismatch(x.begin(), x.end(), y.begin());
    if (at != x.end())
      return makeError(
          StatusCode::Internal,
          "%s: operand %zu: byte %lld of %zu, outside the real rows of "
          "outputs, is %#x, expected %#x",
          launch.kernel->name()->c_str(), i,
          (long long)(at - x.begin()) - (long long)OperandBuffer::kGuard,
          x.size() - 2 * OperandBuffer::kGuard, *there, *at);
  }
  return worst;
}

} // namespace saddle::check
