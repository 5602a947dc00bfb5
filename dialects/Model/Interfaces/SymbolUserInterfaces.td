#ifndef SADDLE_MODEL_SYMBOLUSERINTERFACES
#define SADDLE_MODEL_SYMBOLUSERINTERFACES

include "mlir/IR/OpBase.td"

def WeightUserOpInterface : OpInterface<"WeightUserOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    An op that names weights. Passes that shard, join, count or place weights ask here and know no op classes.
  }];
  let methods = [
    InterfaceMethod<"The weights, in the order of the runtime op's operands.",
                    "::llvm::SmallVector<::saddle::model::WeightUse>", "getWeightUses">,
  ];
}

def StateUserOpInterface : OpInterface<"StateUserOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    An op that reads or writes state that survives the step.
  }];
  let methods = [
    InterfaceMethod<"The state that the op reads or writes.",
                    "::llvm::SmallVector<::saddle::model::StateUse>", "getStateUses">,
  ];
}

def MatmulOpInterface : OpInterface<"MatmulOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    An op that multiplies each row of its input by weights, and that may quantise the input on the fly.
  }];
  let methods = [
    InterfaceMethod<"What is multiplied, of rank 2.", "::mlir::TypedValue<::mlir::RankedTensorType>", "getInput">,
    InterfaceMethod<"Columns of the input that share one scale; none when it is used as it is.",
                    "::std::optional<uint64_t>", "getActGroup">,
    InterfaceMethod<"Sets them.", "void", "setActGroup", (ins "::std::optional<uint64_t>":$columns)>,
  ];
}

#endif // SADDLE_MODEL_SYMBOLUSERINTERFACES
