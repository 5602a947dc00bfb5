// A launch of experts as its planners see it.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_EXPERTSLAUNCH_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_EXPERTSLAUNCH_H

#include "passes/Target/Sm90a/Plans/Products.h"

#include <optional>

namespace saddle::cuda {

/// The operands by name.
struct ExpertsLaunch {
  explicit ExpertsLaunch(const LaunchDesc &launch)
      : launch(launch), x(launch.operands[0]), weights(launch.operands[1]),
        experts(launch.operands[2]), stored13(launch, "w13"),
        stored2(launch, "w2"), w13(stored13.elements), w2(stored2.elements),
        out(launch.operands.back()), scale13(stored13.scale),
        scale2(stored2.scale), group(launch.integer("act_group")) {}

  int64_t tokens() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t inner() const { return stored2.cols(); }
  int64_t held() const { return w13.shape[0]; }
  int64_t slots() const { return experts.shape[1]; }
  int64_t pairs() const { return tokens() * slots(); }
  /// Tokens of an expert when all are chosen alike.
  int64_t tokensPerExpert() const { return ceilDiv(pairs(), allExperts()); }
  /// The groups of experts are as many as values of expert_start.
  int64_t allExperts() const {
    auto start =
        launch.constants.getAs<saddle::dist::RankValueAttr>("expert_start");
    int64_t parts = start && start.getStep() != 0 ? start.getModulus() : 1;
    return held() * parts;
  }

  const LaunchDesc &launch;
  const Operand &x, &weights, &experts;
  StoredWeight stored13, stored2;
  const Operand &w13, &w2, &out;
  const Operand *scale13, *scale2; // null for weights that have none
  int64_t group;
  /// Of x that has been encoded: where its codes and factors are.
  const LaunchOfCodes *codes = nullptr;
};

/// What the streaming kernels can do; the units that are scaled together.
struct StreamTypes {
  bool codes;
  int64_t blockCols13, blockCols2;
  int64_t scaleUnits13 = 0, scaleUnits2 = 0;
};

std::optional<StreamTypes> streamTypes(const ExpertsLaunch &op);

/// Companion of w13 and of w2.
std::string streamScale13(const ExpertsLaunch &op, const StreamTypes &types);
std::string streamScale2(const ExpertsLaunch &op, const StreamTypes &types);

/// Where the functions of sorted pairs keep things in the workspace.
struct ExpertsWorkspace {
  /// "reinterpret_cast<TYPE *>(...)" of `count` new bytes.
  std::string add(llvm::StringRef type, int64_t count);
  int64_t bytes = 0;
};

/// A function of impls/linear.cuh or impls/experts.cuh with work for that many
/// warps.
FunctionPlan anyShapeFunction(llvm::StringRef suffix, std::string body,
                              int64_t warps);

/// The first function of sorted pairs, which makes the ExpertPlan at `planAt`.
FunctionPlan sortFunction(const ExpertsLaunch &op, llvm::StringRef planAt);

/// The last function of sorted pairs: adds a token's experts. `products` are
/// numbers of that many bytes.
FunctionPlan combineFunction(const ExpertsLaunch &op, llvm::StringRef products,
                             int64_t productBytes = 4);

/// Ways to stream sorted tokens, the planner's first; none where the operands
/// do not allow it.
std::vector<Division> sortedWays(const ExpertsLaunch &op);

/// Kernels of impls/experts_stream.cuh as one of those divides them, or of
/// experts_tile.cuh where an expert has many tokens.
KernelPlan planExpertsStream(const ExpertsLaunch &op, const Division &way);

/// Kernels of impls/experts_tile.cuh for codes whose rows have scales of their
/// own and tokens quantised by whole rows; none where there are few of them.
std::optional<KernelPlan> planExpertsOfRows(const ExpertsLaunch &op);

/// The way in which weights of few tokens per expert can flow; nothing where
/// the operands do not allow it.
std::optional<Division> flowWay(const ExpertsLaunch &op);

/// Kernels of impls/experts_flow.cuh.
KernelPlan planExpertsFlow(const ExpertsLaunch &op, const Division &way);

/// Whether tiles of many tokens are worth it, and fit: impls/experts_tile.cuh.
bool canTileExperts(const ExpertsLaunch &op);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_EXPERTSLAUNCH_H
