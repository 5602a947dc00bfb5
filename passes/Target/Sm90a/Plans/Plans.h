// The planners: one function per op, each in a file beside this one and in the
// table of Catalogue.cpp. Contract: KernelPlan.h, planKernel.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_PLANS_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_PLANS_H

#include "passes/Target/Sm90a/KernelPlan.h"
#include "passes/Target/Sm90a/Machine.h"

namespace saddle::cuda {

// Elementwise.cpp
llvm::FailureOr<KernelPlan> planAdd(const LaunchDesc &launch,
                                    std::string &error);
llvm::FailureOr<KernelPlan> planCopy(const LaunchDesc &launch,
                                     std::string &error);
llvm::FailureOr<KernelPlan> planScale(const LaunchDesc &launch,
                                      std::string &error);
llvm::FailureOr<KernelPlan> planScaledAdd(const LaunchDesc &launch,
                                          std::string &error);
llvm::FailureOr<KernelPlan> planSigmoidGate(const LaunchDesc &launch,
                                            std::string &error);
llvm::FailureOr<KernelPlan> planSiLU(const LaunchDesc &launch,
                                     std::string &error);
llvm::FailureOr<KernelPlan> planSwiGLU(const LaunchDesc &launch,
                                       std::string &error);
llvm::FailureOr<KernelPlan> planSwiGLUOAI(const LaunchDesc &launch,
                                          std::string &error);

// Linear.cpp, Experts.cpp
llvm::FailureOr<KernelPlan> planLinear(const LaunchDesc &launch,
                                       std::string &error);
llvm::FailureOr<KernelPlan> planLinearOfCodes(const LaunchDesc &launch,
                                              std::string &error);
llvm::FailureOr<KernelPlan> planEncodeRows(const LaunchDesc &launch,
                                           std::string &error);
llvm::FailureOr<KernelPlan> planExperts(const LaunchDesc &launch,
                                        std::string &error);
llvm::FailureOr<KernelPlan> planExpertsOfCodes(const LaunchDesc &launch,
                                               std::string &error);

// Norm.cpp, Rope.cpp, Rows.cpp, Router.cpp, Attention.cpp, Scan.cpp
llvm::FailureOr<KernelPlan> planEmbedding(const LaunchDesc &launch,
                                          std::string &error);
llvm::FailureOr<KernelPlan> planRMSNorm(const LaunchDesc &launch,
                                        std::string &error);
llvm::FailureOr<KernelPlan> planSumOfSquares(const LaunchDesc &launch,
                                             std::string &error);
llvm::FailureOr<KernelPlan> planRMSScale(const LaunchDesc &launch,
                                         std::string &error);
llvm::FailureOr<KernelPlan> planRope(const LaunchDesc &launch,
                                     std::string &error);
llvm::FailureOr<KernelPlan> planKVAppend(const LaunchDesc &launch,
                                         std::string &error);
llvm::FailureOr<KernelPlan> planSelectRows(const LaunchDesc &launch,
                                           std::string &error);
llvm::FailureOr<KernelPlan> planConcat(const LaunchDesc &launch,
                                       std::string &error);
llvm::FailureOr<KernelPlan> planKeepRows(const LaunchDesc &launch,
                                         std::string &error);
llvm::FailureOr<KernelPlan> planKeepNextRows(const LaunchDesc &launch,
                                             std::string &error);
llvm::FailureOr<KernelPlan> planKeptRows(const LaunchDesc &launch,
                                         std::string &error);
llvm::FailureOr<KernelPlan> planRouterTopK(const LaunchDesc &launch,
                                           std::string &error);
llvm::FailureOr<KernelPlan> planSoftmaxTopK(const LaunchDesc &launch,
                                            std::string &error);
llvm::FailureOr<KernelPlan> planSharedGate(const LaunchDesc &launch,
                                           std::string &error);
llvm::FailureOr<KernelPlan> planAttention(const LaunchDesc &launch,
                                          std::string &error);
llvm::FailureOr<KernelPlan> planDecayScan(const LaunchDesc &launch,
                                          std::string &error);
/// The step of a fused launch as planDecayScan has it, on what its SiLU reads;
/// the launch itself has the output before the state.
llvm::FailureOr<KernelPlan> planSiLUDecayScan(const LaunchDesc &scan,
                                              std::string &error);
llvm::FailureOr<KernelPlan> planScaleColumns(const LaunchDesc &launch,
                                             std::string &error);
llvm::FailureOr<KernelPlan> planDivideByRMS(const LaunchDesc &launch,
                                            std::string &error);

// Candidates.cpp
llvm::FailureOr<KernelPlan> planTopCandidates(const LaunchDesc &launch,
                                              std::string &error);
llvm::FailureOr<KernelPlan> planMapTokens(const LaunchDesc &launch,
                                          std::string &error);
llvm::FailureOr<KernelPlan> planMergeCandidates(const LaunchDesc &launch,
                                                std::string &error);

// Exchange.cpp
llvm::FailureOr<KernelPlan> planAllReduceSum(const LaunchDesc &launch,
                                             std::string &error);
llvm::FailureOr<KernelPlan> planAllGather(const LaunchDesc &launch,
                                          std::string &error);
llvm::FailureOr<KernelPlan> planReduceScatterSum(const LaunchDesc &launch,
                                                 std::string &error);
llvm::FailureOr<KernelPlan> planSend(const LaunchDesc &launch,
                                     std::string &error);
llvm::FailureOr<KernelPlan> planReceive(const LaunchDesc &launch,
                                        std::string &error);

// Synthetic.cpp: of every engine, run while synthetic weights are loaded.
KernelPlan planSyntheticWeights();

// Chain.cpp: of engines whose steps can follow one another without the host.
KernelPlan planChainSteps();

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_PLANS_H
