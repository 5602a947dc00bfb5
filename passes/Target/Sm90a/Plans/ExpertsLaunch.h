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
        experts(launch.operands[2]), w13(*launch.find("w13")),
        w2(*launch.find("w2")), out(launch.operands.back()),
        scale13(launch.find("w13_scale")), scale2(launch.find("w2_scale")),
        group(launch.integer("act_group")) {}

  int64_t tokens() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t inner() const { return w2.shape[2]; }
  int64_t held() const { return w13.shape[0]; }
  int64_t slots() const { return experts.shape[1]; }
  int64_t pairs() const { return tokens() * slots(); }
  /// Tokens of an expert when all are chosen alike: the groups of experts are
  /// as many as values of expert_start.
  int64_t tokensPerExpert() const {
    auto start =
        launch.constants.getAs<saddle::dist::RankValueAttr>("expert_start");
    int64_t parts = start && start.getStep() != 0 ? start.getModulus() : 1;
    return ceilDiv(pairs(), held() * parts);
  }

  std::string scale13Type() const { return scaleType(scale13); }
  std::string scale2Type() const { return scaleType(scale2); }

  const LaunchDesc &launch;
  const Operand &x, &weights, &experts, &w13, &w2, &out;
  const Operand *scale13, *scale2; // null for weights stored as their values
  int64_t group;
};

/// What the streaming kernels can do; the units that are scaled together.
struct StreamTypes {
  bool codes;
  int64_t blockCols13, blockCols2;
  int64_t scaleUnits13 = 0, scaleUnits2 = 0;
};

std::optional<StreamTypes> streamTypes(const ExpertsLaunch &op);

/// BlockScaled of w13 and of w2.
std::string streamScale13(const ExpertsLaunch &op, const StreamTypes &types);
std::string streamScale2(const ExpertsLaunch &op, const StreamTypes &types);

/// Kernels of impls/experts_stream.cuh or experts_tile.cuh, where the operands
/// allow it.
std::optional<KernelPlan> planExpertsStream(const ExpertsLaunch &op);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_EXPERTSLAUNCH_H
