#ifndef SADDLE_MODEL_LAUNCHOPINTERFACE
#define SADDLE_MODEL_LAUNCHOPINTERFACE

include "mlir/IR/OpBase.td"

def LaunchOpInterface : OpInterface<"LaunchOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    An op of a step: which op of the runtime it becomes. Required of every op of the dialect that is not a symbol. Rows are those of dimension 0; how many
    of them are real is known at run time.
  }];
  let methods = [
    InterfaceMethod<[{
        Describes the launch, or the views, that the op becomes. An op that must be gone before reports an error that names the pass.
      }],
      "::llvm::LogicalResult", "describeLaunch", (ins "::saddle::model::LaunchBuilder &":$launch)>,
    InterfaceMethod<"The operand that has as many rows as the results: the first one, unless the op picks rows.",
      "::mlir::Value", "getRowOperand", (ins), [{}], [{ return $_op->getOperand(0); }]>,
  ];
}

/// In place of a `describeLaunch`: one launch of `op` with the operands, then the weights, and as constants the attributes named.
class Launches<string op, list<string> constants = []> {
  string extraClassDefinition = "::llvm::LogicalResult $cppClass::describeLaunch(::saddle::model::LaunchBuilder &launch) {\n"
    # "  launch.calls(\"" # op # "\").operands().weights()"
    # !if(!empty(constants), "", ".attributes({\"" # !interleave(constants, "\", \"") # "\"})")
    # ";\n  return ::llvm::success();\n}\n";
}

#endif // SADDLE_MODEL_LAUNCHOPINTERFACE
