#ifndef SADDLE_MODEL_ENUMS
#define SADDLE_MODEL_ENUMS

include "mlir/IR/EnumAttr.td"

/// Numbered as in engine.fbs.
def Model_CompanionKind : I32EnumAttr<"CompanionKind", "what a tensor beside a stored weight holds",
    [I32EnumAttrCase<"Scale", 1, "scale">, I32EnumAttrCase<"Zero", 2, "zero">, I32EnumAttrCase<"GlobalScale", 3, "global_scale">]> {
  let cppNamespace = "::saddle::model";
  let genSpecializedAttr = 0;
}

#endif // SADDLE_MODEL_ENUMS
