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
    return {q, k,     qWeight, kWeight, positions,
            v, slots, turned,  kCache,  vCache};
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
    int64_t attended = add({query, kCache, vCache, positions, sequences, table},
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

namespace {

constexpr int64_t kBetween = StepPlace::kBetween;

/// What planners read out of a launch.
struct Steps {
  explicit Steps(const LaunchDesc &launch)
      : launch(launch), at(launch.op), turned(valueBetween(q(), "out")) {
    norm = launch;
    norm.op = StringRef(launch.op).split("_attention").first.str();
    norm.body.resize(launch.body.size() - (at.linear ? 2 : 1));
    norm.operands = operandsOf(at.ofNorm(kBetween));
    attention = launch;
    attention.op = at.linear ? "attention_linear" : "attention";
    attention.body.erase(attention.body.begin(),
                         attention.body.begin() +
                             static_cast<int64_t>(norm.body.size()));
    attention.operands = operandsOf(behindNorm());
    attention.groupSize = 1;
    if (!at.linear)
      attention = stepOf(attention, 0, attention.operands);
  }

  const Operand &operand(int64_t number) const {
    return launch.operands[number];
  }
  const Operand &q() const { return operand(at.q); }
  std::vector<Operand> operandsOf(ArrayRef<int64_t> numbers) const {
    std::vector<Operand> operands;
    for (int64_t number : numbers)
      operands.push_back(number == kBetween ? turned : operand(number));
    return operands;
  }
  /// Of what is behind the norm, in its kernels' order.
  SmallVector<int64_t> behindNorm() const {
    SmallVector<int64_t> numbers = at.ofAttention(kBetween, at.out);
    if (at.linear)
      numbers.insert(numbers.end() - 1, {at.w, at.wScale});
    return numbers;
  }

  const LaunchDesc &launch;
  const Numbers at;
  const Operand turned;
  LaunchDesc norm, attention; // with the product, if there is one
};

} // namespace

/// "LaunchParams NAME = p;" with these operands of the launch.
static std::string paramsOf(StringRef name, ArrayRef<int64_t> numbers) {
  std::string text = formatv("LaunchParams {0} = p;\n", name);
  for (auto [index, number] : llvm::enumerate(numbers))
    text +=
        formatv("{0}.operands[{1}] = {2};\n", name, index,
                number == kBetween ? std::string("nullptr")
                                   : formatv("p.operands[{0}]", number).str());
  return text;
}

/// One kernel for all but the product; none for shapes that it does not take.
static std::optional<KernelPlan> planTogether(const Steps &steps) {
  const Numbers &at = steps.at;
  const LaunchDesc &launch = steps.launch;
  LaunchDesc attention = steps.attention;
  if (at.linear) {
    std::vector<Operand> operands(attention.operands.begin(),
                                  attention.operands.begin() + 6);
    operands.push_back(steps.turned);
    attention = stepOf(steps.attention, 0, std::move(operands));
  }
  const Operand &q = steps.q(), &kCache = steps.operand(at.kCache);
  int64_t tokens = q.shape[0], kvHeads = kCache.shape[2],
          headDim = attention.integer("head_dim"),
          rotaryDim = qkNormRotaryDim(steps.norm),
          perKvHead = q.shape[1] / headDim / kvHeads;
  auto type = decodeType(attention);
  if (!type || tokens > Layout::kMostTokens ||
      perKvHead > device::kDecodeHeads || !Layout::rotates(headDim, rotaryDim))
    return std::nullopt;
  // As many clusters as fill the machine, for long contexts; of those that
  // wait for other ranks as many CTAs as may.
  int64_t ctas = tokens * kvHeads * Layout::kCtas;
  int64_t most = launch.groupSize > 1
                     ? int64_t(device::kMaxWaitingBlocks)
                     : kMultiprocessors * Layout::kCtasOfMultiprocessor;
  int64_t parts = std::clamp<int64_t>(most / ctas, 1, Layout::kMostParts);
  if (tokens * perKvHead * kvHeads > int64_t(device::kMaxArrivals))
    parts = 1;
  const Operand &table = steps.operand(at.table);
  if (!Layout::isShort(table.shape[1] * kCache.shape[1], parts))
    return std::nullopt;
  const Operand *rows[] = {&q, &steps.operand(at.k), &steps.operand(at.v)};
  if (!llvm::all_of(rows, [](const Operand *operand) {
        return operand->element.isBF16();
      }))
    return std::nullopt;

  KernelPlan plan, product;
  std::string store;
  if (at.linear) {
    LaunchDesc linear =
        stepOf(steps.attention, 1,
               {valueBetween(q, "x"), steps.operand(at.w),
                steps.operand(at.wScale), steps.operand(at.out)});
    std::optional<KernelPlan> planned = planLinearOfEncoded(linear);
    int64_t group = linear.integer("act_group");
    if (!planned || group != headDim || group != 128)
      return std::nullopt;
    product = std::move(*planned);
    EncodedTokens encoded(tokens, q.shape[1], group);
    store = formatv("StoreEncoded<A, {0}, {1}>{{p.workspace, {2}}",
                    encoded.codes, encoded.factors, encoded.factorsAt);
  } else {
    store = formatv("StoreRow<A>{{p.operands[{0}]}", at.out);
  }
  if (launch.groupSize > 1)
    plan.exchangeBytes = device::packetMemory(launch.groupSize * tokens);
  uint64_t partsAt = roundUp(product.workspaceBytes, 256);
  plan.workspaceBytes =
      parts == 1
          ? product.workspaceBytes
          : partsAt + uint64_t(device::partialResultBytes(
                          tokens * perKvHead * kvHeads * parts, headDim));
  plan.headers = {"impls/qk_norm_attention.cuh"};
  FunctionPlan fused;
  fused.body =
      qkNormFrequencies(steps.norm) + paramsOf("norm", at.ofNorm(kBetween)) +
      paramsOf("attend", at.ofAttention(kBetween, kBetween)) +
      formatv("using A = {0};\n"
              "qkNormAttention<{1}, {2}, {3}, {13}, {4}, {5}, A,\n"
              "    {6},\n    {7},\n    {8}, {9}>(\n"
              "    p, norm, attend, {10}, {11},\n"
              "    static_cast<uint8_t *>(p.workspace) + {14}, {12});",
              *type, launch.groupSize, plan.exchangeBytes, Layout::kCtas,
              extentNumber(launch), rotaryDim, matrixType(*rows[0]),
              matrixType(*rows[1]), matrixType(*rows[2]),
              at.scaled ? "true" : "false", qkNormNumbers(steps.norm),
              floatLiteral(attention.real("scale")), store, parts, partsAt)
          .str();
  fused.block = Layout::kThreads;
  fused.cluster = Layout::kCtas;
  // Clusters of ranks that share a device all fit on it when there is one for
  // each kv head.
  bool waits = launch.groupSize > 1;
  fused.grid[0] = static_cast<uint32_t>(waits ? ctas : ctas * parts);
  if (waits && parts > 1)
    fused.exclusiveGrid = static_cast<uint32_t>(ctas * parts);
  fused.residentBlocks = Layout::kResident;
  fused.waitsItself = true;
  if (at.linear) {
    fused.suffix = "attention";
    plan.functions = {std::move(fused)};
    appendStep(plan, product, {{kBetween, at.w, at.wScale, at.out}, 0, 0},
               "product");
  } else {
    plan.functions = {std::move(fused)};
  }
  return plan;
}

FailureOr<KernelPlan> QKNormAttention::plan(const LaunchDesc &launch,
                                            std::string &error) const {
  Steps steps(launch);
  if (auto together = planTogether(steps))
    return std::move(*together);
  // The functions of the smaller launches, with q in the workspace.
  FailureOr<KernelPlan> norm = planQKNorm(steps.norm, error);
  if (failed(norm))
    return failure();
  FailureOr<KernelPlan> behind =
      steps.at.linear ? attentionLinear()->plan(steps.attention, error)
                      : planAttention(steps.attention, error);
  if (failed(behind))
    return failure();
  const Operand &q = steps.turned;
  uint64_t normAt =
      roundUp(q.elements() * (q.element.getIntOrFloatBitWidth() / 8), 256);
  uint64_t behindAt = normAt + roundUp(norm->workspaceBytes, 256);
  KernelPlan plan;
  appendStep(plan, *norm, {steps.at.ofNorm(kBetween), 0, normAt}, "qk_norm");
  appendStep(plan, *behind, {steps.behindNorm(), 0, behindAt}, "attention");
  plan.exchangeBytes = norm->exchangeBytes;
  plan.workspaceBytes = behindAt + behind->workspaceBytes;
  return plan;
}

const DeviceFusion *saddle::cuda::qkNormAttention() {
  static const QKNormAttention fusion;
  return &fusion;
}
