// Ops that device targets run as one kernel. Their definition is the sequence
// of single ops that they replace, so that is what runs here: bit for bit what
// the single ops give, roundings included.

#include "runtime/src/cpu/Binding.h"

namespace saddle::cpu {

namespace {

/// Attributes of a step, as a kernel table.
class StepKernel {
public:
  explicit StepKernel(const char *op) : op(op) {}
  StepKernel &integer(const char *name, uint64_t value) {
    attributes.push_back(
        schema::CreateAttribute(builder, builder.CreateString(name),
                                schema::AttributeKind::INT, int64_t(value)));
    return *this;
  }
  StepKernel &real(const char *name, double value) {
    attributes.push_back(
        schema::CreateAttribute(builder, builder.CreateString(name),
                                schema::AttributeKind::FLOAT, 0, value));
    return *this;
  }
  std::unique_ptr<BoundKernel> bind(const BindContext &context,
                                    const std::vector<View> &operands) {
    builder.Finish(schema::CreateKernelDirect(builder, op, op, &attributes));
    return bindLaunch(
        *flatbuffers::GetRoot<schema::Kernel>(builder.GetBufferPointer()),
        operands, context.rank, context.scratch);
  }

private:
  const char *op;
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<schema::Attribute>> attributes;
};

/// Steps that run one after the other, and the rows between them.
struct Steps {
  std::vector<std::unique_ptr<BoundKernel>> kernels;
  std::vector<std::vector<uint8_t>> buffers;

  /// A dense [rows, columns] of its own.
  View buffer(schema::DType dtype, uint64_t rows, uint64_t columns) {
    buffers.emplace_back(rows * columns * elementBytes(dtype));
    return {buffers.back().data(), dtype, 2, {rows, columns}, {columns, 1}};
  }
};

} // namespace

static std::unique_ptr<BoundKernel> makeSteps(Steps steps) {
  return makeKernel([steps = std::move(steps)](uint64_t count) {
    for (const auto &kernel : steps.kernels)
      kernel->run(count);
  });
}

std::unique_ptr<BoundKernel> bindAddRmsNorm(const BindContext &context) {
  const View &a = context.operand(0), &b = context.operand(1),
             &weight = context.operand(2), &sum = context.operand(3),
             &out = context.operand(4);
  double eps = context.attributes.real("eps");
  Steps steps;
  steps.kernels.push_back(StepKernel("add").bind(context, {a, b, sum}));
  steps.kernels.push_back(StepKernel("rms_norm")
                              .real("eps", eps)
                              .bind(context, {sum, weight, out}));
  return makeSteps(std::move(steps));
}

std::unique_ptr<BoundKernel>
bindQkNormRopeKvAppend(const BindContext &context) {
  const View &q = context.operand(0), &k = context.operand(1),
             &v = context.operand(2), &qWeight = context.operand(3),
             &kWeight = context.operand(4), &positions = context.operand(5),
             &slots = context.operand(6), &out = context.operand(7),
             &kCache = context.operand(8), &vCache = context.operand(9);
  auto real = [&](const char *name) { return context.attributes.real(name); };
  Steps steps;
  View sums = steps.buffer(schema::DType::F32, q.shape[0], 2);
  View key = steps.buffer(k.dtype, k.shape[0], k.shape[1]);
  auto scale = [&](const View &x, const View &weight, uint64_t column,
                   const char *divisor, const View &to) {
    steps.kernels.push_back(StepKernel("rms_scale")
                                .integer("column", column)
                                .integer("divisor", context.integer(divisor))
                                .real("eps", real("eps"))
                                .bind(context, {x, sums, weight, to}));
  };
  auto turn = [&](const View &x) {
    steps.kernels.push_back(
        StepKernel("rope")
            .integer("head_dim", context.integer("head_dim"))
            .integer("rotary_dim", context.integer("rotary_dim"))
            .real("theta", real("theta"))
            .bind(context, {x, positions, x}));
  };
  steps.kernels.push_back(
      StepKernel("sum_of_squares").bind(context, {q, k, sums}));
  scale(q, qWeight, 0, "q_divisor", out);
  scale(k, kWeight, 1, "k_divisor", key);
  turn(out);
  turn(key);
  steps.kernels.push_back(
      StepKernel("kv_append").bind(context, {key, v, slots, kCache, vCache}));
  return makeSteps(std::move(steps));
}

} // namespace saddle::cpu
