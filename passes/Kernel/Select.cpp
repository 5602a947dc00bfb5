// Attaches an implementation to every group.

#include "passes/Kernel/Passes.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Model/IR/ModelDialect.h"
#include "passes/Kernel/Groups.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringExtras.h"

namespace saddle::kernel {
#define GEN_PASS_DEF_SELECT
#include "passes/Kernel/Passes.h.inc"
} // namespace saddle::kernel

using namespace mlir;
using namespace saddle;
using namespace saddle::kernel;

/// One kernel normalises and rotates q and k alike.
static bool treatsQAndKAlike(ArrayRef<Operation *> ops) {
  SmallVector<model::RMSScaleOp> scales;
  SmallVector<model::RopeOp> ropes;
  for (Operation *op : ops)
    if (auto scale = dyn_cast<model::RMSScaleOp>(op))
      scales.push_back(scale);
    else if (auto rope = dyn_cast<model::RopeOp>(op))
      ropes.push_back(rope);
  return scales.size() == 2 && ropes.size() == 2 &&
         scales[0].getEpsAttr() == scales[1].getEpsAttr() &&
         ropes[0].getHeadDim() == ropes[1].getHeadDim() &&
         ropes[0].getRotaryDim() == ropes[1].getRotaryDim() &&
         ropes[0].getThetaAttr() == ropes[1].getThetaAttr();
}

/// Ranks that a collective spans.
static size_t ranksOf(dist::AllReduceOp reduce) {
  dist::AxesAttr axes = reduce.getAxesAttr();
  auto mesh = SymbolTable::lookupNearestSymbolFrom<dist::MeshOp>(
      reduce, axes.getMesh());
  return dist::toMesh(mesh).groups(axes.getAxes()).front().size();
}

/// A warp of the kernel that exchanges has a lane for each rank.
static bool fitsAWarp(ArrayRef<Operation *> ops) {
  return llvm::all_of(ops, [](Operation *op) {
    auto reduce = dyn_cast<dist::AllReduceOp>(op);
    return !reduce || ranksOf(reduce) <= 32;
  });
}

/// Whether sm_90a has a kernel for a group of that signature and these ops.
static bool hasKernel(StringRef signature, ArrayRef<Operation *> ops) {
  if (signature == "qk_norm_rope_kv_append" ||
      signature == "qk_norm_all_reduce_rope_kv_append")
    return treatsQAndKAlike(ops) && fitsAWarp(ops);
  return signature == "add_rms_norm";
}

/// The signature of a norm group's ops.
static std::string signatureOf(ArrayRef<Operation *> ops) {
  return llvm::join(
      llvm::map_range(
          ops, [](Operation *op) { return op->getName().stripDialect(); }),
      "_");
}

/// A kernel for the whole group; else one for what is left when the collectives
/// at its ends run on their own; else op by op.
static void selectForDevice(GroupOp group) {
  SmallVector<Operation *> ops;
  for (Operation &op : group.getBody().front().without_terminator())
    ops.push_back(&op);
  if (hasKernel(group.getSignature(), ops))
    return group.setImplementation(kKernelImplementation);
  ArrayRef<Operation *> rest = ops;
  auto isCollective = [](Operation *op) {
    return isa<dist::DistDialect>(op->getDialect());
  };
  while (!rest.empty() && isCollective(rest.front()))
    rest = rest.drop_front();
  while (!rest.empty() && isCollective(rest.back()))
    rest = rest.drop_back();
  std::string signature = signatureOf(rest);
  if (rest.size() == ops.size() || rest.size() < 2 ||
      !hasKernel(signature, rest))
    return group.setImplementation(kInlineImplementation);
  openGroup(group);
  formGroup(signature, rest).setImplementation(kKernelImplementation);
}

namespace {

struct Select : saddle::kernel::impl::SelectBase<Select> {
  using Base::Base;

  void runOnOperation() override {
    if (target != "cpu" && target != "sm_90a") {
      getOperation().emitError("target \"")
          << target << "\" is not known; targets of this version: cpu, sm_90a";
      return signalPassFailure();
    }
    SmallVector<GroupOp> groups;
    getOperation().walk([&](GroupOp group) { groups.push_back(group); });
    for (GroupOp group : groups)
      if (target == "cpu")
        group.setImplementation(kInlineImplementation);
      else
        selectForDevice(group);
  }
};

} // namespace
