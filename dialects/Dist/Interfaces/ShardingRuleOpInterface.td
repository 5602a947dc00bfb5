#ifndef SADDLE_DIST_SHARDINGRULEOPINTERFACE
#define SADDLE_DIST_SHARDINGRULEOPINTERFACE

include "mlir/IR/OpBase.td"

def ShardingRuleOpInterface : OpInterface<"ShardingRuleOpInterface"> {
  let cppNamespace = "::saddle::dist";
  let description = [{
    How an op may be split over a mesh, and what changes in it when it is. `model` ops do not know meshes, so they get it as external models
    (ModelRules.cpp); one without a rule does not compile.
  }];
  let methods = [
    InterfaceMethod<[{
        What the op asks of its operands and gives for its results. Fails with an error at the op when its operands' shardings do not go together.
      }],
      "::llvm::LogicalResult", "buildRule", (ins "::saddle::dist::RuleBuilder &":$rule)>,
    InterfaceMethod<[{
        Axes over which the result is a partial sum, because weights are split where they are summed over. Asks nothing of operands.
      }],
      "::llvm::SmallVector<::saddle::dist::AxisRef>", "getSummedAxes",
      (ins "const ::saddle::dist::ShardingState &":$state), [{}], [{ return {}; }]>,
    InterfaceMethod<"Whether every rank must hold the rows of all ranks.", "bool", "needsAllRows", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<[{
        Sets what depends on a rank's share. Called before types and weights become local; shardings of operands and results are still known.
      }],
      "::llvm::LogicalResult", "localize", (ins "::saddle::dist::Localizer &":$localizer), [{}], [{ return ::llvm::success(); }]>,
  ];
}

#endif // SADDLE_DIST_SHARDINGRULEOPINTERFACE
