#include "passes/StepOutputs.h"

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace saddle;

SmallVector<const ops::Binding *> saddle::outputsOf(func::FuncOp step) {
  SmallVector<const ops::Binding *> found;
  size_t count = step.getBody().front().getTerminator()->getNumOperands();
  auto names =
      step->getAttrOfType<ArrayAttr>(model::ModelDialect::kOutputsAttrName);
  if (names && names.size() != count)
    return {};
  for (const ops::Binding &known : ops::outputs())
    if (names ? llvm::is_contained(names.getAsValueRange<StringAttr>(),
                                   known.name)
              : found.size() < count)
      found.push_back(&known);
  // All parts of an output, or none.
  for (const ops::Binding &known : ops::outputs())
    if (!llvm::is_contained(found, &known) &&
        llvm::any_of(found, [&](const ops::Binding *other) {
          return other->output == known.output;
        }))
      return {};
  return found.size() == count ? found : SmallVector<const ops::Binding *>();
}

/// Whether a step needs the op whatever is read of it.
static bool hasEffects(Operation &op) {
  return op.getNumResults() == 0 || op.walk([](model::StateUserOpInterface) {
                                        return WalkResult::interrupt();
                                      }).wasInterrupted();
}

/// Calls visit(op) for the ops whose results `op` uses, also in its regions.
static void forEachSource(Operation &op,
                          llvm::function_ref<void(Operation *)> visit) {
  for (Value operand : op.getOperands())
    if (Operation *source = operand.getDefiningOp())
      visit(source);
  for (Region &region : op.getRegions())
    visitUsedValuesDefinedAbove(region, [&](OpOperand *use) {
      if (Operation *source = use->get().getDefiningOp())
        visit(source);
    });
}

DenseMap<Operation *, StringRef>
saddle::opsOfOneOutput(Block &body, ArrayRef<const ops::Binding *> yields) {
  // Of each op, the outputs that it leads to; null: it is always needed.
  DenseMap<Operation *, llvm::SmallSetVector<const ops::Output *, 2>> leads;
  Operation *end = body.getTerminator();
  for (auto [value, binding] : llvm::zip(end->getOperands(), yields))
    if (Operation *source = value.getDefiningOp())
      leads[source].insert(binding->output);
  for (Operation &op : llvm::reverse(body.without_terminator())) {
    if (hasEffects(op))
      leads[&op].insert(nullptr);
    auto own = leads.lookup(&op);
    forEachSource(op, [&](Operation *source) {
      leads[source].insert(own.begin(), own.end());
    });
  }
  llvm::SmallPtrSet<const ops::Output *, 2> outputs;
  for (const ops::Binding *binding : yields)
    outputs.insert(binding->output);
  DenseMap<Operation *, StringRef> found;
  if (outputs.size() > 1)
    for (Operation &op : body.without_terminator())
      if (auto own = leads.lookup(&op); own.size() == 1 && own.front())
        found[&op] = own.front()->name;
  return found;
}
