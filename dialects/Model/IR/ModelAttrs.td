#ifndef SADDLE_MODEL_ATTRS
#define SADDLE_MODEL_ATTRS

include "dialects/Model/IR/ModelBase.td"
include "mlir/IR/CommonAttrConstraints.td"

class Model_Attr<string name, string attrMnemonic> : AttrDef<Model_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def Model_DimAttr : Model_Attr<"Dim", "dim"> {
  let summary = "the logical name of a weight's dimension, and its unit";
  let description = [{
    What the dimension counts (`"q_heads"`, `"hidden"`, `"vocab"`, ...), and how many of its elements belong together: with heads of 128 values the unit of
    `"q_heads"` is 128, so a dimension of extent 6144 has 48 units. Extents are split between units only. A unit of 1 is not printed. In the `dims` of a
    weight the attribute is written bare.

    ```mlir
    #model.dim<"q_heads" x 128>
    #model.dim<"hidden">
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "int64_t":$unit);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}
def Model_DimArrayAttr : TypedArrayAttrBase<Model_DimAttr, "names of dimensions">;

#endif // SADDLE_MODEL_ATTRS
