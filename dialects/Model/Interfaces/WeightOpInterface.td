#ifndef SADDLE_MODEL_WEIGHTOPINTERFACE
#define SADDLE_MODEL_WEIGHTOPINTERFACE

include "mlir/IR/OpBase.td"

def WeightOpInterface : OpInterface<"WeightOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    A symbol that stands for stored parameters: a checkpoint tensor, or one rank's share of some. Ops that multiply by weights name such a
    symbol and verify their shapes against it, so the same op serves before and after partitioning.
  }];
  let methods = [
    InterfaceMethod<"Shape and storage dtype of the values.",
                    "::mlir::RankedTensorType", "getWeightType">,
    InterfaceMethod<"Rows and columns that share one scale; empty when the weight has no scales.",
                    "::llvm::ArrayRef<int64_t>", "getWeightScaleBlock">,
  ];
}

#endif // SADDLE_MODEL_WEIGHTOPINTERFACE
