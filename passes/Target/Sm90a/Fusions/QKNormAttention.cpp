// The norm of q and k, attention, and the product that alone reads it where
// that takes codes: for few tokens one kernel of clusters does all but the
// product (impls/qk_norm_attention.cuh).

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/QKNorm.h"
#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "runtime/kernels/shared/attention.h"
#include "runtime/kernels/shared/exchange.h"
#include "runtime/kernels/shared/qk_norm_attention.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using llvm::formatv;
using Layout = device::QKNormAttentionLayout;

namespace {

/// Numbers of the launch's operands: inputs as the steps name them first, then
/// outputs.
struct Numbers {
  explicit Numbers(StringRef signature)
      : ranks(signature.contains("_all_reduce_")),
        scaled(signature.contains("_scale_")),
        linear(signature.ends_with("_linear")) {
    int64_t next = 5;
    kScale = scaled ? next++ : -1;
    v = next++;
    vScale = scaled ? next++ : -1;
    slots = next++;
    sequences = next++;
    table = next++;
    w = linear ? next++ : -1;
    wScale = linear ? next++ : -1;
    out = next++;
    kCache = next++;
    vCache = next++;
    between = next;
  }

  bool ranks, scaled, linear;
  static constexpr int64_t q = 0, k = 1, qWeight = 2, kWeight = 3,
                           positions = 4;
  int64_t kScale, v, vScale, slots, sequences, table, w, wScale, out, kCache,
      vCache, between;

  /// Of the norm's kernel, in its order (impls/qk_norm.cuh, QKNormOperands);
  /// `turned` is where q goes.
  SmallVector<int64_t> ofNorm(int64_t turned) const {
    if (scaled)
      return {q, k,      qWeight, kWeight, positions, kScale,
              v, vScale, slots,   turned,  kCache,    vCache};
    return {q, k, qWeight, kWeight, positions, v, slots, turned, kCache, vCache};
  }
  /// Of attention's.
  SmallVector<int64_t> ofAttention(int64_t turned, int64_t to) const {
    return {turned, kCache, vCache, positions, sequences, table, to};
  }

  std::vector<std::vector<int64_t>> steps() const {
    std::vector<std::vector<int64_t>> steps;
    int64_t next = between;
    auto add = [&](std::vector<int64_t> values, int64_t result) {
      values.push_back(result);
      steps.push_back(std::move(values));
      return result;
    };
    int64_t sums = add({q, k}, next++);
    if (ranks)
      sums = add({sums}, next++);
    int64_t query = add({q, sums, qWeight}, next++);
    int64_t key = add({k, sums, kWeight}, next++), value = v;
    query = add({query, positions}, next++);
    key = add({key, positions}, next++);
    if (scaled) {
      key = add({key, kScale}, next++);
      value = add({v, vScale}, next++);
      query = add({query, kScale}, next++);
    }
    steps.push_back({key, value, slots, kCache, vCache});
    int64_t attended =
        add({query, kCache, vCache, positions, sequences, table},
            linear ? next++ : out);
    if (linear)
      steps.push_back({attended, w, wScale, out});
    return steps;
  }
};

class QKNormAttention : public DeviceFusion {
public:
  QKNormAttention() : DeviceFusion("qk_norm_attention", pattern()) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto norm = matchQKNorm(anchor);
    if (!norm || !isOneNorm(*norm))
      return {};
    Value query =
        norm->query ? norm->query.getResult() : norm->ropeQ.getResult();
    auto attention = query.hasOneUse()
                         ? dyn_cast<model::AttentionOp>(*query.user_begin())
                         : model::AttentionOp();
    if (!attention || attention.getCacheAttr() != norm->append.getCacheAttr() ||
        attention.getContext() != norm->append.getContext() ||
        !norm->append->isBeforeInBlock(attention))
      return {};
    auto rows = cast<RankedTensorType>(attention.getResult().getType());
    if (rows.isDynamicDim(0) || rows.getDimSize(0) > Layout::kMostTokens)
      return {};
    SmallVector<Operation *> ops = norm->ops();
    ops.push_back(attention);
    if (auto linear = quantisedReader(attention.getResult()))
      ops.push_back(linear);
    return ops;
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    std::string name = QKNormOps::signature(ops) + "_attention";
    return isa<model::LinearOp>(ops.back()) ? name + "_linear" : name;
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {
        "qk_norm_rope_kv_append_attention",
        "qk_norm_rope_kv_append_attention_linear",
        "qk_norm_rope_scale_kv_append_attention",
        "qk_norm_rope_scale_kv_append_attention_linear",
        "qk_norm_all_reduce_rope_kv_append_attention",
        "qk_norm_all_reduce_rope_kv_append_attention_linear",
        "qk_norm_all_reduce_rope_scale_kv_append_attention",
        "qk_norm_all_reduce_rope_scale_kv_append_attention_linear"};
    return all;
  }

  std::vector<std::vector<int64_t>> values(StringRef signature) const override {
    return Numbers(signature).steps();
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override;

private:
  static ArrayRef<Part> pattern() {
    static const SmallVector<Part> parts = [] {
      SmallVector<Part> parts(QKNormOps::pattern());
      parts.push_back(part<model::AttentionOp>());
      parts.push_back(optionalPart<model::LinearOp>());
      return parts;
    }();
    return parts;
  }
};

} // namespace

FailureOr<KernelPlan> QKNormAttention::plan(const LaunchDesc &launch,
                                            std::string &error) const {
  Numbers at(launch.op);
  auto operand = [&](int64_t number) -> const Operand & {
    return launch.operands[number];
  };
  Operand turned = valueBetween(operand(at.q), "out"),
          attended = valueBetween(operand(at.q), "out");
  auto operandsOf = [&](ArrayRef<int64_t> numbers, const Operand &between) {
    std::vector<Operand> operands;
    for (int64_t number : numbers)
      operands.push_back(number == StepPlace::kBetween ? between
                                                       : operand(number));
    return operands;
  };
  constexpr int64_t kBetween = StepPlace::kBetween;
  LaunchDesc norm = launch;
  norm.body.resize(launch.body.size() - (at.linear ? 2 : 1));
  norm.operands = operandsOf(at.ofNorm(kBetween), turned);
  norm.op = StringRef(launch.op).split("_attention").first.str();
  LaunchDesc attention =
      stepOf(launch, norm.body.size(),
             operandsOf(at.ofAttention(kBetween, kBetween), turned));
  attention.groupSize = 1;
  if (!at.linear)
    attention.operands.back() = operand(at.out);
  else
    attention.operands.back() = attended;

  auto decode = decodeType(attention);
  if (!decode) {
    error = "not yet";
    return failure();
  }
  const Operand &q = operand(at.q), &k = operand(at.k), &v = operand(at.v);
  int64_t tokens = q.shape[0], kvHeads = operand(at.kCache).shape[2];

  KernelPlan product;
  std::string store;
  if (at.linear) {
    LaunchDesc linear =
        stepOf(launch, launch.body.size() - 1,
               {valueBetween(q, "x"), operand(at.w), operand(at.wScale),
                operand(at.out)});
    linear.groupSize = 1;
    auto planned = planLinearOfEncoded(linear);
    if (!planned) {
      error = "not yet either";
      return failure();
    }
    product = std::move(*planned);
    EncodedTokens encoded(attended.shape[0], attended.shape[1],
                          linear.integer("act_group"));
    store = formatv("StoreEncoded<A, {0}, {1}>{{p.workspace, {2}}",
                    encoded.codes, encoded.factors, encoded.factorsAt);
  } else {
    store = formatv("StoreRow<A>{{p.operands[{0}]}", at.out);
  }

  KernelPlan plan;
  plan.headers = {"impls/qk_norm_attention.cuh"};
  if (launch.groupSize > 1)
    plan.exchangeBytes = device::packetMemory(launch.groupSize * tokens);
  FunctionPlan fused;
  fused.suffix = "attention";
  auto place = [](StringRef name, ArrayRef<int64_t> numbers) {
    std::string text = formatv("LaunchParams {0} = p;\n", name);
    for (auto [index, number] : llvm::enumerate(numbers))
      text += number == kBetween
                  ? formatv("{0}.operands[{1}] = nullptr;\n", name, index).str()
                  : formatv("{0}.operands[{1}] = p.operands[{2}];\n", name,
                            index, number)
                        .str();
    return text;
  };
  constexpr int64_t kCtas = Layout::kCtas;
  fused.body = qkNormFrequencies(norm) +
               place("norm", at.ofNorm(kBetween)) +
               place("attend", at.ofAttention(kBetween, kBetween)) +
               formatv("using A = {0};\n"
                       "qkNormAttention<{1}, {2}, {3}, {4}, {5}, A,\n"
                       "    {6},\n    {7},\n    {8}, {9}>(\n"
                       "    p, norm, attend, {10}, {11}, {12});",
                       *decode, launch.groupSize, plan.exchangeBytes, kCtas,
                       extentNumber(launch), qkNormRotaryDim(norm),
                       matrixType(q), matrixType(k), matrixType(v),
                       at.scaled ? "true" : "false", qkNormNumbers(norm),
                       floatLiteral(attention.real("scale")), store)
                   .str();
  fused.block = Layout::kThreads;
  fused.cluster = kCtas;
  fused.grid[0] = static_cast<uint32_t>(tokens * kvHeads * kCtas);
  fused.residentBlocks = Layout::kResident;
  fused.waitsItself = true;
  plan.functions = {std::move(fused)};
  if (at.linear) {
    StepPlace second = {{kBetween, at.w, at.wScale, at.out}, 0, 0};
    appendStep(plan, product, second, "product");
    plan.workspaceBytes = product.workspaceBytes;
  }
  return plan;
}

const DeviceFusion *saddle::cuda::qkNormAttention() {
  static const QKNormAttention fusion;
  return &fusion;
}
