// Tensors with padding and canaries, and one call that checks, binds and runs a
// kernel. References work on `at()`: doubles read back from the stored bits.

#ifndef SADDLE_TEST_UNIT_CPU_KERNELFIXTURE_H
#define SADDLE_TEST_UNIT_CPU_KERNELFIXTURE_H

#include "runtime/src/base/Float.h"
#include "runtime/src/cpu/Kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace saddle::cpu {

using schema::DType;

inline double readElement(const uint8_t *address, DType dtype) {
  switch (dtype) {
  case DType::F32:
    return *reinterpret_cast<const float *>(address);
  case DType::BF16:
    return bf16ToFloat(*reinterpret_cast<const uint16_t *>(address));
  case DType::F16:
    return f16ToFloat(*reinterpret_cast<const uint16_t *>(address));
  case DType::F8E4M3:
    return e4m3ToFloat(*address);
  case DType::I32:
    return *reinterpret_cast<const int32_t *>(address);
  case DType::U8:
    return *address;
  case DType::I8:
    return int8_t(*address);
  case DType::F8E8M0:
    return e8m0ToFloat(*address);
  default:
    return NAN;
  }
}

inline void writeElement(uint8_t *address, DType dtype, double value) {
  switch (dtype) {
  case DType::F32:
    *reinterpret_cast<float *>(address) = float(value);
    return;
  case DType::BF16:
    *reinterpret_cast<uint16_t *>(address) = floatToBf16(float(value));
    return;
  case DType::F16:
    *reinterpret_cast<uint16_t *>(address) = floatToF16(float(value));
    return;
  case DType::F8E4M3:
    *address = floatToE4m3(float(value));
    return;
  case DType::I32:
    *reinterpret_cast<int32_t *>(address) = int32_t(value);
    return;
  case DType::U8:
  case DType::I8:
    *address = uint8_t(int(value));
    return;
  default:
    FAIL() << "no such dtype in these tests";
  }
}

/// Owns a strided tensor. Each row of the last dimension is followed by `pad`
/// elements that no kernel may touch.
class Tensor {
public:
  Tensor(DType dtype, std::vector<uint64_t> shape, uint64_t pad = 0) {
    view.dtype = dtype;
    view.rank = shape.size();
    uint64_t stride = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      view.shape[i] = shape[i];
      view.strides[i] = stride;
      stride = stride * shape[i] + (shape.size() > 1 ? pad : 0);
    }
    bytes.assign((stride + 8) * elementBytes(dtype), kCanary);
    view.data = bytes.data();
  }
  Tensor(Tensor &&other) noexcept { *this = std::move(other); }
  Tensor &operator=(Tensor &&other) noexcept {
    bytes = std::move(other.bytes);
    view = other.view;
    view.data = bytes.data();
    return *this;
  }

  template <typename... Index>
  uint8_t *address(Index... index) const {
    uint64_t offset = 0;
    unsigned dimension = 0;
    ((offset += uint64_t(index) * view.strides[dimension++]), ...);
    return view.data + offset * elementBytes(view.dtype);
  }
  template <typename... Index>
  double at(Index... index) const {
    return readElement(address(index...), view.dtype);
  }
  template <typename... Index>
  void set(double value, Index... index) {
    writeElement(address(index...), view.dtype, value);
  }

  /// Calls f(address) for each element in row-major order.
  template <typename Function>
  void forEach(Function f) const {
    std::vector<uint64_t> index(view.rank, 0);
    while (true) {
      uint64_t offset = 0;
      for (unsigned i = 0; i < view.rank; ++i)
        offset += index[i] * view.strides[i];
      f(view.data + offset * elementBytes(view.dtype));
      unsigned i = view.rank;
      while (i > 0 && ++index[i - 1] == view.shape[i - 1])
        index[--i] = 0;
      if (i == 0)
        return;
    }
  }
  Tensor &&fill(std::vector<double> values) && {
    size_t next = 0;
    forEach([&](uint8_t *address) {
      writeElement(address, view.dtype, values.at(next++));
    });
    return std::move(*this);
  }
  /// Normally distributed, from `seed`.
  Tensor &&random(unsigned seed, double deviation = 1) && {
    std::mt19937 generator(seed);
    std::normal_distribution<double> distribution(0, deviation);
    forEach([&](uint8_t *address) {
      writeElement(address, view.dtype, distribution(generator));
    });
    return std::move(*this);
  }
  /// Every byte that belongs to no element still holds the canary.
  void expectPaddingUntouched() const {
    std::vector<uint8_t> others = bytes;
    forEach([&](uint8_t *address) {
      std::fill_n(others.begin() + (address - view.data),
                  elementBytes(view.dtype), kCanary);
    });
    EXPECT_EQ(others, std::vector<uint8_t>(bytes.size(), kCanary));
  }

  View view;
  std::vector<uint8_t> bytes;
  static constexpr uint8_t kCanary = 0xab;
};

/// Builds one schema::Kernel.
class KernelBuilder {
public:
  explicit KernelBuilder(const char *op) : op(op) {}
  KernelBuilder &integer(const char *name, int64_t value) {
    auto text = builder.CreateString(name);
    attributes.push_back(schema::CreateAttribute(
        builder, text, schema::AttributeKind::INT, value));
    return *this;
  }
  KernelBuilder &real(const char *name, double value) {
    auto text = builder.CreateString(name);
    attributes.push_back(schema::CreateAttribute(
        builder, text, schema::AttributeKind::FLOAT, 0, value));
    return *this;
  }
  KernelBuilder &rank(const char *name, uint64_t base, uint64_t divisor = 1,
                      uint64_t modulus = 1, uint64_t step = 0) {
    auto value = schema::CreateRankValue(builder, base, divisor, modulus, step);
    auto text = builder.CreateString(name);
    attributes.push_back(schema::CreateAttribute(
        builder, text, schema::AttributeKind::RANK, 0, 0, value));
    return *this;
  }
  /// Begins a step of a body, to which the attributes that follow belong.
  KernelBuilder &step(const char *name, const std::vector<uint32_t> &operands) {
    finishStep();
    stepName = name;
    stepOperands = operands;
    return *this;
  }
  KernelBuilder &temporary(DType dtype, const std::vector<uint64_t> &row) {
    temporaries.push_back(schema::CreateTemporaryDirect(builder, dtype, &row));
    return *this;
  }
  /// The next weight of any storage has a scale for every block.
  KernelBuilder &
  scale(uint64_t blockRows, uint64_t blockCols,
        schema::CompanionKind kind = schema::CompanionKind::SCALE) {
    std::vector<flatbuffers::Offset<schema::Companion>> companions = {
        schema::CreateCompanion(builder, kind, blockRows, blockCols)};
    storages.push_back(schema::CreateStorageDirect(builder, &companions));
    return *this;
  }
  /// The next weight of any storage has such codes and companions.
  KernelBuilder &codes(schema::Codes kind, bool inPairs, uint32_t zero,
                       const std::vector<schema::CompanionT> &each) {
    std::vector<flatbuffers::Offset<schema::Companion>> companions;
    for (const schema::CompanionT &companion : each)
      companions.push_back(schema::CreateCompanion(builder, &companion));
    std::vector<uint32_t> order = {0, 1};
    storages.push_back(schema::CreateStorageDirect(
        builder, &companions, inPairs ? &order : nullptr, kind, zero));
    return *this;
  }
  /// The next weight of any storage is rotated values, so many columns at a
  /// time.
  KernelBuilder &rotated(uint32_t columns) {
    schema::StorageT storage;
    storage.rotated = columns;
    storages.push_back(schema::CreateStorage(builder, &storage));
    return *this;
  }
  /// The next weight of any storage is stored as its values.
  KernelBuilder &plain() {
    storages.push_back(schema::CreateStorage(builder));
    return *this;
  }
  const schema::Kernel &build() {
    if (!built) {
      finishStep();
      builder.Finish(schema::CreateKernelDirect(
          builder, "kernel under test", op, &attributes, nullptr,
          steps.empty() ? nullptr : &steps,
          temporaries.empty() ? nullptr : &temporaries,
          storages.empty() ? nullptr : &storages));
      built = true;
    }
    return *flatbuffers::GetRoot<schema::Kernel>(builder.GetBufferPointer());
  }

private:
  void finishStep() {
    if (!stepName)
      return;
    steps.push_back(schema::CreateBodyOpDirect(builder, stepName, &attributes,
                                               &stepOperands));
    attributes.clear();
    stepName = nullptr;
  }

  const char *op, *stepName = nullptr;
  bool built = false;
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<schema::Attribute>> attributes;
  std::vector<uint32_t> stepOperands;
  std::vector<flatbuffers::Offset<schema::BodyOp>> steps;
  std::vector<flatbuffers::Offset<schema::Temporary>> temporaries;
  std::vector<flatbuffers::Offset<schema::Storage>> storages;
};

/// How a launch is checked and where it runs.
struct LaunchContext {
  DType compute = DType::F32;
  DType kv = DType::F32;
  uint32_t rank = 0;
};

inline std::vector<View> viewsOf(const std::vector<const Tensor *> &operands) {
  std::vector<View> views;
  for (const Tensor *operand : operands)
    views.push_back(operand->view);
  return views;
}

/// Checks, binds and runs; then every operand's padding must be as before.
inline void launch(KernelBuilder &kernel,
                   const std::vector<const Tensor *> &operands, uint64_t count,
                   LaunchContext context = {}) {
  std::vector<View> views = viewsOf(operands);
  Status status =
      ops::checkLaunch(kernel.build(), context.compute, context.kv, views);
  ASSERT_TRUE(status.ok()) << status.message();
  Scratch scratch;
  auto bound = bindLaunch(kernel.build(), views, context.rank, scratch);
  status = scratch.allocate();
  ASSERT_TRUE(status.ok()) << status.message();
  bound->run(count);
  for (const Tensor *operand : operands)
    operand->expectPaddingUntouched();
}

/// Largest error that one rounding to `dtype` and fp32 accumulation of a sum of
/// terms of total size `magnitude` may leave.
inline double tolerance(DType dtype, double value, double magnitude) {
  double rounding = dtype == DType::BF16 ? 0x1p-8 * std::fabs(value) : 0;
  return rounding + 4e-6 * magnitude + 1e-30;
}

} // namespace saddle::cpu

#endif // SADDLE_TEST_UNIT_CPU_KERNELFIXTURE_H
