// Groups of the kernel level: opened op by op, or one launch that computes the
// whole body.

#include "passes/Engine/EntryConverter.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

LogicalResult EntryConverter::convertOp(kernel::GroupOp group) {
  Block &body = group.getBody().front();
  for (auto [argument, input] :
       llvm::zip_equal(body.getArguments(), group.getInputs())) {
    if (Value known = buffers.lookup(input))
      buffers[argument] = known;
    if (auto known = extents.find(input); known != extents.end())
      extents[argument] = Extent(known->second);
  }
  // The buffer of a yielded value is made when its op is converted, so the
  // outputs must be known by their inner names.
  Operation *yield = body.getTerminator();
  for (auto [inner, outer] :
       llvm::zip_equal(yield->getOperands(), group.getResults())) {
    if (outputs.contains(outer))
      outputs.insert(inner);
    if (auto joined = joins.find(outer); joined != joins.end())
      joins[inner] = std::pair(joined->second); // before the map grows
  }
  fusion = shared.fusion(group);
  LogicalResult converted = convertBody(group);
  fusion = {};
  for (auto [inner, outer] :
       llvm::zip_equal(yield->getOperands(), group.getResults())) {
    buffers[outer] = Value(buffers.lookup(inner));
    extents[outer] = Extent(extents.lookup(inner));
  }
  return converted;
}

LogicalResult EntryConverter::convertBody(kernel::GroupOp group) {
  Block &body = group.getBody().front();
  if (group.getImplementation() == kernel::kInlineImplementation) {
    for (Operation &op : body.without_terminator())
      if (failed(convertAny(&op)))
        return failure();
    return success();
  }
  for (Operation &op : body.without_terminator())
    if (failed(checkWeights(&op)))
      return failure();
  std::optional<StringRef> implementation = group.getImplementation();
  if (!implementation)
    return group.emitError("group \"")
           << group.getSignature()
           << "\" has no implementation; run kernel-form-groups";
  const Fusion *fusion = target.fusion(*implementation);
  if (!fusion || !fusion->isOneLaunch() || !fusion->matches(group))
    return group.emitError("target ")
           << target.name() << " has no launch \"" << *implementation
           << "\" for the ops of group \"" << group.getSignature()
           << "\"; run kernel-form-groups for this target";
  return launchBody(group);
}

namespace {

/// A value of a kernel's body. Numbers are known when all values are: operands
/// come first, inputs before outputs, then temporaries.
struct BodyValue {
  enum class Kind { Input, Output, Temporary } kind;
  size_t index;
};

struct BodyStep {
  StringRef op;
  DictionaryAttr constants;
  SmallVector<BodyValue> values;
};

/// Collects the values of a body, each once.
class BodyValues {
public:
  using Kind = BodyValue::Kind;

  /// What comes from outside: a buffer, or a weight or state by its symbol. A
  /// state that a step before has written is that output.
  BodyValue input(Value value) {
    Value key = value;
    if (auto global = value.getDefiningOp<GlobalOp>()) {
      if (auto written = states.find(global.getSymbol());
          written != states.end()) {
        if (global.use_empty())
          global.erase();
        return {Kind::Output, written->second};
      }
      auto [known, isNew] = globals.try_emplace(global.getSymbol(), value);
      key = known->second;
      if (!isNew && global.use_empty())
        global.erase();
    }
    inputs.insert(key);
    return {Kind::Input,
            static_cast<size_t>(llvm::find(inputs, key) - inputs.begin())};
  }
  BodyValue output(Value value) {
    if (auto global = value.getDefiningOp<GlobalOp>())
      states.try_emplace(global.getSymbol(), outputs.size());
    outputs.push_back(value);
    return {Kind::Output, outputs.size() - 1};
  }
  /// One row of it.
  BodyValue temporary(RankedTensorType row) {
    temporaries.push_back(TypeAttr::get(row));
    return {Kind::Temporary, temporaries.size() - 1};
  }

  int64_t number(BodyValue value) const {
    size_t base = value.kind == Kind::Input    ? 0
                  : value.kind == Kind::Output ? inputs.size()
                                               : inputs.size() + outputs.size();
    return static_cast<int64_t>(base + value.index);
  }

  llvm::SetVector<Value> inputs;
  SmallVector<Value> outputs;
  SmallVector<Attribute> temporaries;

private:
  llvm::StringMap<Value> globals;
  llvm::StringMap<size_t> states; // outputs among them
};

} // namespace

LogicalResult EntryConverter::launchBody(kernel::GroupOp group) {
  Block &body = group.getBody().front();
  Operation *yield = body.getTerminator();
  BodyValues values;
  SmallVector<BodyStep> steps;
  llvm::DenseMap<Value, BodyValue> inner; // results of the body's ops
  FlatSymbolRefAttr groups;
  std::optional<Extent> rows;

  for (Operation &op : body.without_terminator())
    for (Value result : op.getResults())
      extents[result] = extent(&op);
  // Outputs first, in the order of the group's results.
  for (Value yielded : yield->getOperands()) {
    if (!yielded.getDefiningOp())
      return group.emitError("yields one of its inputs");
    inner.try_emplace(yielded, values.output(resultBuffer(yielded)));
  }
  auto read = [&](Value value) {
    auto known = inner.find(value);
    return known == inner.end() ? values.input(buffers.lookup(value))
                                : known->second;
  };
  auto addResults = [&](Operation *op, BodyStep &step) {
    for (Value result : op->getResults()) {
      auto type = cast<RankedTensorType>(result.getType());
      auto known = inner.find(result);
      if (known == inner.end())
        known = inner
                    .try_emplace(result, values.temporary(RankedTensorType::get(
                                             type.getShape().drop_front(),
                                             type.getElementType())))
                    .first;
      step.values.push_back(known->second);
    }
  };
  for (Operation &op : body.without_terminator()) {
    BodyStep step;
    if (auto collective = dyn_cast<dist::CollectiveOpInterface>(op)) {
      FlatSymbolRefAttr own = shared.rankGroups(collective.getAxesAttr());
      if (collective.getKind() != dist::CollectiveKind::AllReduce ||
          (groups && groups != own))
        return op.emitError("cannot be a step of a kernel: all-reduces over "
                            "one group of ranks alone can");
      groups = own;
      step.op = stringifyCollectiveKind(CollectiveKind::AllReduceSum);
      step.constants = builder.getDictionaryAttr({});
      step.values.push_back(read(op.getOperand(0)));
    } else if (auto launch = dyn_cast<model::LaunchOpInterface>(op)) {
      model::LaunchBuilder described(&op, symbols);
      if (failed(launch.describeLaunch(described)))
        return failure();
      if (described.getViewed() || described.isJoined())
        return op.emitError("cannot be a step of a kernel: it is a view");
      step.op = described.getCallee();
      step.constants = constantsOf(&op, described);
      for (const model::LaunchOperand &operand : described.getInputs()) {
        if (operand.kind == model::LaunchOperand::Kind::Value) {
          step.values.push_back(read(operand.value));
          continue;
        }
        for (Value value : place(&op, operand))
          step.values.push_back(values.input(value));
      }
      for (const model::LaunchOperand &operand : described.getWrittenState())
        for (Value value : place(&op, operand))
          step.values.push_back(values.output(value));
      if (!rows)
        rows = extent(&op);
    } else {
      return op.emitError("op '")
             << op.getName() << "' cannot be a step of a kernel";
    }
    addResults(&op, step);
    steps.push_back(std::move(step));
  }

  SmallVector<Attribute> attributes;
  for (const BodyStep &step : steps) {
    SmallVector<int64_t> numbers;
    for (BodyValue value : step.values)
      numbers.push_back(values.number(value));
    attributes.push_back(StepAttr::get(builder.getContext(),
                                       builder.getStringAttr(step.op), numbers,
                                       step.constants));
  }
  LaunchOp::create(
      builder, group.getLoc(),
      shared.kernel(group.getSignature(), {}, builder.getArrayAttr(attributes),
                    values.temporaries.empty()
                        ? ArrayAttr()
                        : builder.getArrayAttr(values.temporaries)),
      values.inputs.getArrayRef(), values.outputs, /*workspace=*/Value(),
      /*exchange=*/Value(), groups, extentAttr(rows.value_or(Extent::Tokens)),
      builder.getStringAttr(placeOf(group)), fusion);
  return success();
}
