#ifndef SADDLE_MODEL_STATEOPINTERFACE
#define SADDLE_MODEL_STATEOPINTERFACE

include "mlir/IR/OpBase.td"

def StateOpInterface : OpInterface<"StateOpInterface"> {
  let cppNamespace = "::saddle::model";
  let description = [{
    A symbol that stands for what a model remembers of a sequence between steps. Its kind says what one unit of it belongs to (a page of tokens, or a
    whole sequence), and with that how a sequence is cut back: pages are forgotten, state of a sequence comes back from a copy only. Levels below
    know states by this interface alone: its heads are what ranks share, its buffers are what lies in memory.
  }];
  let methods = [
    InterfaceMethod<"What one unit of the state belongs to.",
                    "::saddle::model::StateKind", "getStateKind">,
    InterfaceMethod<"Heads that are held, of all ranks until partitioning and of one rank then.",
                    "int64_t", "getStateHeads">,
    InterfaceMethod<"Makes it the state of one rank's heads.",
                    "void", "setStateHeads", (ins "int64_t":$heads)>,
    InterfaceMethod<"Logical dimension of the heads, by which they are split; empty: every rank holds all.",
                    "::llvm::StringRef", "getStateHeadsDim">,
    InterfaceMethod<"Buffers by the suffix of their names, each of one page of `pageSize` tokens, or of one sequence: dimension 0 is 1.",
                    "::llvm::SmallVector<::saddle::model::StateBuffer>", "getStateBuffers", (ins "int64_t":$pageSize)>,
  ];
}

#endif // SADDLE_MODEL_STATEOPINTERFACE
