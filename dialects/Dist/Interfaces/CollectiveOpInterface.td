#ifndef SADDLE_DIST_COLLECTIVEOPINTERFACE
#define SADDLE_DIST_COLLECTIVEOPINTERFACE

include "mlir/IR/OpBase.td"

def CollectiveOpInterface : OpInterface<"CollectiveOpInterface"> {
  let cppNamespace = "::saddle::dist";
  let description = [{
    An op in which the ranks of a group meet: one tensor goes in on every rank and one comes out.
  }];
  let methods = [
    InterfaceMethod<"What is computed.", "::saddle::dist::CollectiveKind", "getKind">,
    InterfaceMethod<"The axes along which the ranks of a group differ.", "::saddle::dist::AxesAttr", "getAxesAttr">,
    InterfaceMethod<"The dimension that is gathered or scattered; 0 where none is.", "uint64_t", "getDim">,
    InterfaceMethod<"How gathered rows lie; null unless rows are gathered or scattered.", "::saddle::dist::RowLayoutAttr", "getRowsAttr">,
  ];
}

#endif // SADDLE_DIST_COLLECTIVEOPINTERFACE
