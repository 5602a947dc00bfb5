#ifndef SADDLE_MODEL_ATTRS
#define SADDLE_MODEL_ATTRS

include "dialects/Model/IR/ModelBase.td"
include "dialects/Model/IR/ModelEnums.td"
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

//===----------------------------------------------------------------------===//
// Storage of weights
//===----------------------------------------------------------------------===//

def Model_CompanionKindAttr : EnumAttr<Model_Dialect, Model_CompanionKind, "companion_kind">;

def Model_PackingAttr : Model_Attr<"Packing", "packing"> {
  let summary = "several values in one word";
  let description = [{
    `word` is the integer that a checkpoint stores, `order[i]` the place within a word of its i-th value, counted from the lowest bits. Values that share
    a word are neighbours in a row of the stored tensor, or with `rows` in a column.

    ```mlir
    #model.packing<i32 [0, 2, 4, 6, 1, 3, 5, 7]>
    #model.packing<i32 rows [0, 1, 2, 3]>
    ```
  }];
  let parameters = (ins "::mlir::IntegerType":$word, ArrayRefParameter<"int64_t">:$order, "bool":$rows);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Model_CompanionAttr : Model_Attr<"Companion", "companion"> {
  let summary = "a tensor without which a weight's elements mean nothing";
  let description = [{
    One element serves a block of the weight's rows and columns; `*` is a whole dimension. Values are multiplied by a scale, or divided by one that is
    `divided`; a zero is taken off before. `source` is the checkpoint key, of weights of a checkpoint only; `packed` says how elements share words, `transposed` that
    the stored tensor has columns first, `plus` what is added to each stored value, modulo their number, `over` what stored floats are divided by.

    ```mlir
    #model.companion<scale f32 [128, 128] from "model.layers.0.self_attn.q_proj.weight_scale_inv">
    #model.companion<zero ui4 [1, 128] packed i32 [0, 2, 4, 6, 1, 3, 5, 7] transposed plus 1 from "model.layers.0.self_attn.q_proj.qzeros">
    #model.companion<global_scale f32 [*, *] divided from "model.layers.0.self_attn.q_proj.weight_global_scale">
    ```
  }];
  let parameters = (ins "::saddle::model::CompanionKind":$kind, "::mlir::Type":$type, "int64_t":$blockRows, "int64_t":$blockCols,
      "::saddle::model::PackingAttr":$packing, "bool":$transposed, "int64_t":$plus, "int64_t":$over, "bool":$divides, "::mlir::StringAttr":$source);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// A block extent that is the whole dimension.
    static constexpr int64_t kWhole = 0;

    /// Rows and columns that share an element, of a weight of that shape.
    std::array<int64_t, 2> getBlocks(::llvm::ArrayRef<int64_t> weight) const;
    /// The companion of a weight of that shape, a stack's members included.
    ::llvm::SmallVector<int64_t> getShape(::llvm::ArrayRef<int64_t> weight) const;

    CompanionAttr withBlocks(std::array<int64_t, 2> blocks) const;
    CompanionAttr withType(::mlir::Type type) const;
    CompanionAttr withoutSource() const;
    /// As a rank holds it, in memory and without a source: one element for each
    /// block, [rows, columns]; narrow floats of 16 bits as f32, small integers
    /// as bytes.
    CompanionAttr held() const;
  }];
}

def Model_StorageAttr : Model_Attr<"Storage", "storage"> {
  let summary = "how the elements of a stored weight become its values";
  let description = [{
    Beside a weight's element type: how elements share words, if they do, whether the stored tensor has columns first, and the companions that turn
    elements into values. With none of it elements are the values. `plus` is added to every stored element, modulo their number, and `offset` taken off
    what a rank then holds. `rotated` says how many neighbours in a row are multiplied by a Hadamard matrix at last. Kernels say the type of packed elements,
    too (`codes`), which are bytes to them. In an op the attribute is written bare.

    ```mlir
    #model.storage<>
    #model.storage<scale f32 [128, 128] from "model.layers.0.self_attn.q_proj.weight_scale_inv">
    #model.storage<packed i32 [0, 2, 4, 6, 1, 3, 5, 7], transposed, scale f16 [1, 128] transposed>
    #model.storage<packed i8 [0, 1], offset 8, codes ui4, scale f32 [1, 128]>
    #model.storage<packed i8 rows [0, 1], transposed, plus 8, offset 8, rotated 128, scale f32 [1, *] over 7>
    ```
  }];
  let parameters = (ins "::saddle::model::PackingAttr":$packing, "bool":$transposed, "int64_t":$plus, "int64_t":$offset, "int64_t":$rotated, "::mlir::Type":$codes,
      ArrayRefParameter<"::saddle::model::CompanionAttr">:$companions);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Elements are the values.
    bool isPlain() const { return !getPacking() && !getTransposed() && !getPlus() && !getOffset() && !getRotated() && getCompanions().empty(); }
    /// Null when there is none.
    CompanionAttr find(CompanionKind kind) const;
    /// Whether both can be one storage: all the same but blocks and sources.
    bool isLike(StorageAttr other) const;
    /// With companions changed one by one.
    StorageAttr mapCompanions(::llvm::function_ref<CompanionAttr(CompanionAttr)> change) const;
    /// As a rank holds a weight of that element type: values of four bits two
    /// to a byte, all else as `CompanionAttr::held`.
    StorageAttr held(::mlir::Type element) const;
    /// What kernels are told of a held weight: the blocks of its shape in
    /// numbers, and what its elements are.
    StorageAttr resolved(::mlir::RankedTensorType weight) const;
    /// The elements of a held weight in memory: bytes where they hold codes.
    ::mlir::RankedTensorType inMemory(::mlir::RankedTensorType weight) const;
    /// Elements that are their values in memory.
    static StorageAttr getPlain(::mlir::MLIRContext *context) { return get(context, {}, false, 0, 0, 0, {}, {}); }
    /// Values to an element in memory.
    int64_t getValuesPerElement() const;
    /// Neighbours in a row that no split may part: those of an element in memory, and those that are rotated together.
    int64_t getColumnGrain() const { return std::max(getValuesPerElement(), getRotated()); }
  }];
}

#endif // SADDLE_MODEL_ATTRS
