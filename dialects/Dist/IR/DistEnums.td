#ifndef SADDLE_DIST_ENUMS
#define SADDLE_DIST_ENUMS

include "mlir/IR/EnumAttr.td"

// Values are those of RowLayout in runtime/schema/engine.fbs; BLOCKS is of engines that exist.
def Dist_RowLayout : I32EnumAttr<"RowLayout", "how the rows of several ranks lie in a gathered tensor",
    [I32EnumAttrCase<"Packed", 2, "packed">, I32EnumAttrCase<"Padded", 3, "padded">, I32EnumAttrCase<"Shares", 4, "shares">]> {
  let cppNamespace = "::saddle::dist";
  let genSpecializedAttr = 0;
}

def Dist_CollectiveKind : I32EnumAttr<"CollectiveKind", "what the ranks of a group compute together",
    [I32EnumAttrCase<"AllReduce", 1, "all_reduce">, I32EnumAttrCase<"AllGather", 2, "all_gather">,
     I32EnumAttrCase<"ReduceScatter", 3, "reduce_scatter">]> {
  let cppNamespace = "::saddle::dist";
  let genSpecializedAttr = 0;
}

#endif // SADDLE_DIST_ENUMS
