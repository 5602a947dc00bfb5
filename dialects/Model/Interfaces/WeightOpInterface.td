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
    InterfaceMethod<"Shape of the values and type of the stored elements.",
                    "::mlir::RankedTensorType", "getWeightType">,
    InterfaceMethod<"How elements become values; never null.",
                    "::saddle::model::StorageAttr", "getWeightStorage">,
  ];
}

#endif // SADDLE_MODEL_WEIGHTOPINTERFACE
