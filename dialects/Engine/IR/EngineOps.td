#ifndef SADDLE_ENGINE_OPS
#define SADDLE_ENGINE_OPS

include "dialects/Dist/IR/DistAttrs.td"
include "dialects/Engine/IR/EngineEnums.td"
include "dialects/Model/IR/ModelAttrs.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Engine_Dialect : Dialect {
  let name = "engine";
  let cppNamespace = "::saddle::engine";
  let summary = "When things run, and at which byte";
  let description = [{
    The runtime's view: arenas, buffers at offsets, launches and collectives in order. No tensor types; buffers are memrefs whose memory space is an arena.
    One op is one table of runtime/schema/engine.fbs, so serialisation is a transcription.

    Buffers have no offset until `engine-plan-memory`; `engine-verify-memory` checks the plan with code of its own and closes the level.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::saddle::dist::DistDialect", "::saddle::model::ModelDialect"];
  let extraClassDeclaration = [{
    /// Among a kernel's or a step's constants: an array of #model.storage.
    static constexpr ::llvm::StringLiteral kStorageName = "storage";
    /// On a command: the output of a step that alone needs it, a StringAttr.
    static constexpr ::llvm::StringLiteral kOutputAttrName = "engine.output";
  }];
}

class Engine_Op<string mnemonic, list<Trait> traits = []> : Op<Engine_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def Engine_ArenaKindAttr : EnumAttr<Engine_Dialect, Engine_ArenaKind, "arena_kind">;
def Engine_StateKindAttr : EnumAttr<Engine_Dialect, Engine_StateKind, "state_kind">;
def Engine_PhaseAttr : EnumAttr<Engine_Dialect, Engine_Phase, "phase">;
def Engine_ExtentAttr : EnumAttr<Engine_Dialect, Engine_Extent, "extent">;
def Engine_TransferKindAttr : EnumAttr<Engine_Dialect, Engine_TransferKind, "transfer_kind">;
def Engine_CollectiveKindAttr : EnumAttr<Engine_Dialect, Engine_CollectiveKind, "collective_kind">;

def Engine_PieceAttr : AttrDef<Engine_Dialect, "Piece"> {
  let mnemonic = "piece";
  let summary = "one rectangle of a source, and where it goes in a weight";
  let description = [{
    `count` members of the source's stack from `member` on, `rows` x `cols` destination entries from cell (`row`, `col`) of the source, to
    (`dest_row`, `dest_col`). Blocks are [source rows, source columns, destination rows, destination columns] for each entry; [1, 1, 1, 1] for plain values,
    [128, 128, 64, 128] for scales that a split has made finer. The formula stands in runtime/schema/engine.fbs (`Piece`).

    ```mlir
    #engine.piece<source = @k_proj, member = <0 + (rank div 1 mod 1) * 0>, count = 1, row = <0 + (rank div 2 mod 4) * 128>, rows = 128,
      col = <0 + (rank div 1 mod 1) * 0>, cols = 3072, dest_row = 768, dest_col = 0, blocks = 1, 1, 1, 1>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$source, "::saddle::dist::RankValueAttr":$member, "int64_t":$count,
      "::saddle::dist::RankValueAttr":$row, "int64_t":$rows, "::saddle::dist::RankValueAttr":$col, "int64_t":$cols, "int64_t":$dest_row,
      "int64_t":$dest_col, ArrayRefParameter<"int64_t">:$blocks);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Engine_UnpackingAttr : AttrDef<Engine_Dialect, "Unpacking"> {
  let mnemonic = "unpacking";
  let summary = "how a source becomes the matrix that pieces read";
  let description = [{
    The values of a source's words, one after another along its rows, or with `rows` along its columns, make a matrix, `transposed` if the tensor has
    columns first. `per` neighbours of a row are an element of it, the first in the lowest bits; `plus` is added to each value modulo their number.
    `matrix` is what results; without `packing` the tensor is only transposed. The formula stands in runtime/schema/engine.fbs (`Unpacking`).

    ```mlir
    #engine.unpacking<packed <i32 [0, 1, 2, 3, 4, 5, 6, 7]> per 2 to 96 x 80>
    #engine.unpacking<packed <i32 [0, 2, 4, 6, 1, 3, 5, 7]> transposed per 2 to 96 x 80>
    #engine.unpacking<transposed to 96 x 5>
    ```
  }];
  let parameters = (ins OptionalParameter<"::saddle::model::PackingAttr">:$packing, "bool":$transposed,
      DefaultValuedParameter<"int64_t", "1">:$per, DefaultValuedParameter<"int64_t", "0">:$plus, "int64_t":$rows, "int64_t":$cols);
  let hasCustomAssemblyFormat = 1;
}

def Engine_FunctionAttr : AttrDef<Engine_Dialect, "Function"> {
  let mnemonic = "function";
  let summary = "a function of a module and how it is launched";
  let description = [{
    `grid` blocks (x, y, z) of `block` threads with `shared` bytes of dynamic shared memory. The function takes one `LaunchParams`
    (runtime/kernels/abi.h). `exclusive` blocks along x take the place of the grid's when every rank has a device of its own.

    ```mlir
    #engine.function<@rms_norm.cu, "rms_norm_0" grid[8, 1, 1] block 256 shared 0>
    #engine.function<@all_reduce_sum.cu, "all_reduce_sum_0" grid[32, 1, 1] exclusive 128 block 256 shared 0>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$module, "::mlir::StringAttr":$name, ArrayRefParameter<"int64_t">:$grid, "int64_t":$block,
      "int64_t":$shared, DefaultValuedParameter<"int64_t", "0">:$exclusive);
  let assemblyFormat = "`<` $module `,` $name `grid` `[` $grid `]` (`exclusive` $exclusive^)? `block` $block `shared` $shared `>`";
  let genVerifyDecl = 1;
}

def Engine_StepAttr : AttrDef<Engine_Dialect, "Step"> {
  let mnemonic = "step";
  let summary = "one op of a kernel's body";
  let description = [{
    An op of the runtime (docs/RuntimeOps.md), its values in the op's order, and its attributes. Values below the number of the launch's operands are these,
    inputs first; from there on they are the kernel's temporaries.

    ```mlir
    #engine.step<"add"(0, 1, 3) {}>
    #engine.step<"rms_norm"(3, 2, 4) {eps = 1.0e-6 : f64}>
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$op, ArrayRefParameter<"int64_t">:$values, "::mlir::DictionaryAttr":$constants);
  let assemblyFormat = "`<` $op `(` $values `)` $constants `>`";
}

//===----------------------------------------------------------------------===//
// Module-level symbols
//===----------------------------------------------------------------------===//

def Engine_SourceOp : Engine_Op<"source", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a checkpoint tensor that the engine reads or knowingly ignores";
  let description = [{
    ```mlir
    engine.source @w1 from "model.layers.0.block_sparse_moe.experts.{}.w1.weight" stack 256 : tensor<1536x3072xf8E4M3FN>
    engine.source @w1.scale from "model.layers.0.block_sparse_moe.experts.{}.w1.weight_scale_inv" stack 256 companion scale of @w1 : tensor<12x24xf32>
    engine.source @w2 from "model.layers.0.block_sparse_moe.experts.{}.w2.qweight" stack 256
      unpacked <packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 3072 x 768> : tensor<192x3072xi32>
    engine.source @inv_freq from "model.layers.0.self_attn.rotary_emb.inv_freq" ignored "derived from rope_theta" : tensor<32xf32>
    engine.source @draft.fc from "fc.weight" of "draft" : tensor<3072x9216xbf16>
    engine.source @g_idx from "model.layers.0.self_attn.q_proj.g_idx" ignored "columns stand in their groups" group 128 : tensor<3072xi32>
    ```

    **Constraints**
    - (source_c1) the shape is static;
    - (source_c2) `stack` is not negative; the name holds one `{}` when it is positive and none when it is 0;
    - (source_c3) the companion of a weight names another source;
    - (source_c4) what `unpacked` says fills the tensor's words, but for the last ones of a row or column;
    - (source_c5) a source with a `group`, whose element i must be i / group, is an ignored vector of i32, and the group is positive;
    - (source_c6) a source that must be `zero` throughout, where it is there, is an ignored one;
    - (source_c7) what floats of a companion are divided by (`over`) is positive.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$source, OptionalAttr<StrAttr>:$checkpoint, DefaultValuedAttr<I64Attr, "0">:$stack,
      OptionalAttr<Model_CompanionKindAttr>:$companion, OptionalAttr<FlatSymbolRefAttr>:$of, OptionalAttr<StrAttr>:$ignored,
      OptionalAttr<I64Attr>:$group, UnitAttr:$zero, OptionalAttr<I64Attr>:$over, OptionalAttr<Engine_UnpackingAttr>:$unpacking, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = [{
    $sym_name `from` $source (`of` $checkpoint^)? (`stack` $stack^)? (`companion` $companion^ `of` $of)? (`ignored` $ignored^)? (`group` $group^)? (`zero` $zero^)? (`over` $over^)? (`unpacked` $unpacking^)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
}

def Engine_ArenaOp : Engine_Op<"arena", [Symbol]> {
  let summary = "an address range of every rank";
  let description = [{
    ```mlir
    engine.arena @activations transient bytes 1048576 align 256
    ```

    Arenas of pages and of sequences hold state, and their bytes are those of one page or one sequence (`engine.state`).

    **Constraints**
    - (arena_c1) bytes are not negative and the alignment is a power of two.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Engine_ArenaKindAttr:$kind, I64Attr:$bytes, I64Attr:$alignment);
  let assemblyFormat = "$sym_name $kind `bytes` $bytes `align` $alignment attr-dict";
  let hasVerifier = 1;
}

def Engine_DeviceModuleOp : Engine_Op<"module", [Symbol]> {
  let summary = "device code";
  let description = [{
    One translation unit of CUDA C++; the compiler makes a device binary of it, which becomes a segment of the engine file.

    ```mlir
    engine.module @rms_norm.cu source "#include \"runtime/kernels/impls/rms_norm.cuh\"\0A..."
    ```

    **Constraints**
    - (module_c1) the source is not empty.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$source);
  let assemblyFormat = "$sym_name `source` $source attr-dict";
  let hasVerifier = 1;
}

def Engine_KernelOp : Engine_Op<"kernel", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a kernel and its constants";
  let description = [{
    `reference` is an op of the runtime (docs/RuntimeOps.md), or the kind of the collective or transfer that the kernel runs. Attributes are
    integers, floats and rank values; `storage`, if there is one, says how each weight is stored. A kernel of several ops has a `body` in their place, of ops on the launch's operands and on `temporaries`, of which a row's
    type is given; `reference` then is a name for reports. On the CPU target the op or the body runs; with `functions` these do, one after the other, and the
    op or the body says what they compute.

    ```mlir
    engine.kernel @rms_norm_0 op "rms_norm" {eps = 1.0e-6 : f64}
    engine.kernel @linear_0 op "linear" {act_group = 128 : i64, storage = [#model.storage<scale f32 [128, 128]>]}
    engine.kernel @rms_norm_1 op "rms_norm" {eps = 1.0e-6 : f64} functions [#engine.function<@rms_norm.cu, "rms_norm_1" grid[8, 1, 1] block 256 shared 0>]
    engine.kernel @add_rms_norm_0 op "add_rms_norm" {} body [#engine.step<"add"(0, 1, 3) {}>, #engine.step<"rms_norm"(3, 2, 4) {eps = 1.0e-6 : f64}>]
    ```

    **Constraints**
    - (kernel_c1) every attribute, of the kernel or of a step, is an integer, a float or a #dist.rank_value, or the array `storage` of
      #model.storage with numbers for blocks and no sources;
    - (kernel_c2) the module of every function exists;
    - (kernel_c3) there is at least one function, if any are given;
    - (kernel_c4) a body has at least two steps and stands beside no attributes;
    - (kernel_c5) temporaries have a static shape and stand beside a body.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$reference, DictionaryAttr:$constants,
      OptionalAttr<TypedArrayAttrBase<Engine_StepAttr, "steps">>:$body, OptionalAttr<TypeArrayAttr>:$temporaries,
      OptionalAttr<TypedArrayAttrBase<Engine_FunctionAttr, "functions">>:$functions);
  let assemblyFormat = [{
    $sym_name `op` $reference $constants (`body` $body^)? (`temporaries` $temporaries^)? (`functions` $functions^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Engine_RankGroupsOp : Engine_Op<"rank_groups", [Symbol]> {
  let summary = "a partition of the ranks into groups of one size";
  let description = [{
    ```mlir
    engine.rank_groups @tp axes "tp" size 2 ranks [0, 1, 2, 3]
    ```

    **Constraints**
    - (rank_groups_c1) the size is positive and divides the number of ranks;
    - (rank_groups_c2) the ranks are 0 .. n-1, each once.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$axes, I64Attr:$size, DenseI64ArrayAttr:$ranks);
  let assemblyFormat = "$sym_name `axes` $axes `size` $size `ranks` $ranks attr-dict";
  let hasVerifier = 1;
}

def Engine_FusionOp : Engine_Op<"fusion", [Symbol]> {
  let summary = "what a fusion group computes, for reports";
  let description = [{
    ```mlir
    engine.fusion @all_reduce_add_rms_norm ops ["dist.all_reduce", "model.add", "model.rms_norm"]
    ```

    **Constraints**
    - (fusion_c1) there are at least two ops.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$ops);
  let assemblyFormat = "$sym_name `ops` $ops attr-dict";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

def Engine_ProgramOp : Engine_Op<"program", [Symbol, SymbolTable, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "what the ranks of one pipeline stage run of a program";
  let description = [{
    Holds the stage's weights, states and entries. A module holds one for each stage of each program (`of`; "main" when nothing is said); programs of a stage lie
    beside each other in the same arenas. The states of exchange arenas are the same in every program, since peers reach each other's by their offset.

    ```mlir
    engine.program @stage_0 stage 0 { }
    engine.program @draft_0 of "draft" stage 0 { }
    ```

    **Constraints**
    - (program_c1) the body holds only `engine.weight`, `engine.state` and `engine.entry`;
    - (program_c2) the stage is not negative;
    - (program_c3) no other `engine.program` of the module has the same name and stage.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DefaultValuedStrAttr<StrAttr, "main">:$program, I64Attr:$stage);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name (`of` $program^)? `stage` $stage attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Engine_WeightOp : Engine_Op<"weight", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight of one rank and the recipe that makes it";
  let description = [{
    ```mlir
    engine.weight @norm in @weights at 0 pieces [#engine.piece<source = @norm, ...>] : memref<3072xf32>
    ```

    **Constraints**
    - (weight_c1) the arena exists and is constant;
    - (weight_c2) there is at least one piece and every source exists;
    - (weight_c3) the shape is static.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$arena, OptionalAttr<I64Attr>:$offset,
      TypedArrayAttrBase<Engine_PieceAttr, "pieces">:$pieces, TypeAttrOf<AnyMemRef>:$type);
  let assemblyFormat = "$sym_name `in` $arena (`at` $offset^)? `pieces` $pieces attr-dict `:` $type";
  let hasVerifier = 1;
}

def Engine_StateOp : Engine_Op<"state", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "memory that survives steps";
  let description = [{
    One page of tokens or one sequence; how many of them there are is decided when the engine is loaded, and then offset, dimension 0 and the arena
    are so many times as large. Exchange memory has no kind and is what it says.

    ```mlir
    engine.state @layers.0.kv.k kind paged in @kv at 0 : memref<1x16x1x32xbf16>
    ```

    **Constraints**
    - (state_c1) the arena exists and is one of pages, sequences or exchange memory;
    - (state_c2) the shape is static;
    - (state_c3) the kind is paged or index_keys in an arena of pages, sequence in one of sequences, and absent in one of exchange memory;
    - (state_c4) with a kind, dimension 0 is 1.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<Engine_StateKindAttr>:$kind, FlatSymbolRefAttr:$arena, OptionalAttr<I64Attr>:$offset,
      TypeAttrOf<AnyMemRef>:$type);
  let assemblyFormat = "$sym_name (`kind` $kind^)? `in` $arena (`at` $offset^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

def Engine_EntryOp : Engine_Op<"entry", [Symbol, NoTerminator, SingleBlock, HasParent<"ProgramOp">]> {
  let summary = "a program with static shapes";
  let description = [{
    Commands in order, for up to `tokens` tokens and `rows` rows of logits.

    ```mlir
    engine.entry @decode_8 decode tokens 8 rows 8 { }
    ```

    **Constraints**
    - (entry_c1) tokens and rows are positive;
    - (entry_c2) no binding name stands twice.
    - (entry_c3) `engine.output`, the output of a step that alone needs an op, is a string and stands on commands.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Engine_PhaseAttr:$phase, I64Attr:$tokens, I64Attr:$rows);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $phase `tokens` $tokens `rows` $rows attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

def Engine_BufferOp : Engine_Op<"buffer", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a piece of an arena for the length of an entry, or of its use";
  let description = [{
    In a transient arena the bytes belong to the buffer from its first to its last use; in an io arena always.

    ```mlir
    %x = engine.buffer in @activations at 4096 : memref<8x3072xbf16>
    ```

    **Constraints**
    - (buffer_c1) the arena exists and is transient or io;
    - (buffer_c2) the type has a static shape and an identity layout.
  }];
  let arguments = (ins FlatSymbolRefAttr:$arena, OptionalAttr<I64Attr>:$offset);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "`in` $arena (`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Engine_GlobalOp : Engine_Op<"global", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight or state as an operand";
  let description = [{
    ```mlir
    %w = engine.global @norm : memref<3072xf32>
    ```

    **Constraints**
    - (global_c1) the symbol is an `engine.weight` or `engine.state` of the same type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$symbol attr-dict `:` type($result)";
}

def Engine_ViewOp : Engine_Op<"view"> {
  let summary = "columns of a buffer";
  let description = [{
    The same bytes, from a column on, with the source's row stride. Columns of bytes may be elements of any type.

    ```mlir
    %k = engine.view %qkv column 768 : memref<8x1024xbf16> -> memref<8x128xbf16, strided<[1024, 1], offset: 768>>
    %factors = engine.view %rows column 3072 : memref<8x3168xui8> -> memref<8x24xf32, strided<[792, 1], offset: 768>>
    ```

    **Constraints**
    - (view_c1) both have rank 2 and the same rows; their element type is the same, or the source's is ui8;
    - (view_c2) the columns lie inside the source;
    - (view_c3) the result's strides are the source's and its offset is the source's plus the column, counted in elements of the result, which rows and columns begin with.
  }];
  let arguments = (ins AnyMemRef:$source, I64Attr:$column);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$source `column` $column attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
  /// `element`: of the result, the source's unless that is of bytes.
  let builders = [OpBuilder<(ins "::mlir::Value":$source, "int64_t":$column, "int64_t":$columns, "::mlir::Type":$element)>];
}

def Engine_BindOp : Engine_Op<"bind"> {
  let summary = "a buffer that the host writes before the entry or reads after it";
  let description = [{
    ```mlir
    engine.bind "tokens", %t : memref<8xi32>
    ```

    **Constraints**
    - (bind_c1) the buffer is an `engine.buffer`.
  }];
  let arguments = (ins StrAttr:$binding, AnyMemRef:$buffer);
  let assemblyFormat = "$binding `,` $buffer attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Commands
//===----------------------------------------------------------------------===//

def Engine_LaunchOp : Engine_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, AttrSizedOperandSegments]> {
  let summary = "run a kernel on buffers";
  let description = [{
    Inputs are read, outputs are written; a cache that is updated in place stands among the outputs. `place` says where in the model this is; `fusion` which
    group it came from.

    ```mlir
    engine.launch @rms_norm_0(%x, %w) outs(%y) tokens at "layers.0.input_norm"
        : (memref<8x3072xbf16>, memref<3072xf32>) outs(memref<8x3072xbf16>)
    ```

    `workspace` is memory of the launch alone, undefined before and after. A kernel that exchanges data with its peers in the middle names the rank groups
    (`over`); `exchange` is as in `engine.collective`.

    **Constraints**
    - (launch_c1) the kernel exists;
    - (launch_c2) the fusion, if named, exists;
    - (launch_c3) there is at least one input and one output;
    - (launch_c4) the workspace, if given, is an `engine.buffer` in a transient arena, a vector of i8;
    - (launch_c5) the groups, if named, exist;
    - (launch_c6) the exchange memory, if given, is an `engine.global` of a state in an exchange arena, a vector of i8, and stands beside groups.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyMemRef>:$inputs, Variadic<AnyMemRef>:$outputs, Optional<AnyMemRef>:$workspace,
      Optional<AnyMemRef>:$exchange, OptionalAttr<FlatSymbolRefAttr>:$groups, Engine_ExtentAttr:$extent, StrAttr:$place,
      OptionalAttr<FlatSymbolRefAttr>:$fusion);
  let assemblyFormat = [{
    $kernel `(` $inputs `)` `outs` `(` $outputs `)` (`over` $groups^)? (`workspace` `(` $workspace^ `:` type($workspace) `)`)?
    (`exchange` `(` $exchange^ `:` type($exchange) `)`)? $extent `at` $place (`fusion` $fusion^)? attr-dict
    `:` `(` type($inputs) `)` `outs` `(` type($outputs) `)`
  }];
  let hasVerifier = 1;
}

def Engine_CollectiveOp : Engine_Op<"collective", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, AttrSizedOperandSegments]> {
  let summary = "exchange a buffer within rank groups";
  let description = [{
    ```mlir
    engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens at "layers.0.o_proj" : memref<8x3072xbf16> to memref<8x3072xbf16>
    engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens by @all_reduce_sum_0 exchange(%e : memref<65536xi8>) at "layers.0.o_proj"
        : memref<8x3072xbf16> to memref<8x3072xbf16>
    ```

    On a device target a kernel runs it (`by`). `exchange` is memory that this group's exchanges share, at the same offset on every rank; `workspace` is as in
    `engine.launch`.

    **Constraints**
    - (collective_c1) the groups exist;
    - (collective_c2) the fusion, if named, exists;
    - (collective_c3) the shapes fit the kind: equal for all_reduce_sum, multiplied by the group size along `dim` in the output of all_gather and in the
      input of reduce_scatter_sum;
    - (collective_c4) the kernel, if named, exists and its op is the collective's kind; workspace and exchange memory stand only beside a kernel;
    - (collective_c5) the workspace, if given, is like that of a launch;
    - (collective_c6) the exchange memory, if given, is an `engine.global` of a state in an exchange arena, a vector of i8.
  }];
  let arguments = (ins Engine_CollectiveKindAttr:$kind, AnyMemRef:$input, AnyMemRef:$output, FlatSymbolRefAttr:$groups, I64Attr:$dim,
      Engine_ExtentAttr:$extent, OptionalAttr<Engine_ExtentAttr>:$output_extent, OptionalAttr<Dist_RowLayoutAttr>:$rows, StrAttr:$place,
      OptionalAttr<FlatSymbolRefAttr>:$fusion, OptionalAttr<FlatSymbolRefAttr>:$kernel, Optional<AnyMemRef>:$workspace, Optional<AnyMemRef>:$exchange);
  let assemblyFormat = [{
    $kind $input `to` $output `over` $groups `dim` $dim $extent (`becoming` $output_extent^)? (`rows` $rows^)? (`by` $kernel^)?
    (`workspace` `(` $workspace^ `:` type($workspace) `)`)? (`exchange` `(` $exchange^ `:` type($exchange) `)`)? `at` $place (`fusion` $fusion^)? attr-dict
    `:` type($input) `to` type($output)
  }];
}

def Engine_TransferOp : Engine_Op<"transfer", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, AttrSizedOperandSegments]> {
  let summary = "hand a buffer to the next stage, or get it from the one before";
  let description = [{
    ```mlir
    engine.transfer send %x tokens at "layers.31.boundary" : memref<8x3072xbf16>
    engine.transfer send %x tokens by @send_0 exchange(%e : memref<65536xi8>) at "layers.31.boundary" : memref<8x3072xbf16>
    ```

    **Constraints**
    - (transfer_c1) the buffer has an identity layout;
    - (transfer_c2) kernel, workspace and exchange memory are like those of a collective.
  }];
  let arguments = (ins Engine_TransferKindAttr:$kind, AnyMemRef:$buffer, Engine_ExtentAttr:$extent, StrAttr:$place,
      OptionalAttr<FlatSymbolRefAttr>:$kernel, Optional<AnyMemRef>:$workspace, Optional<AnyMemRef>:$exchange);
  let assemblyFormat = [{
    $kind $buffer $extent (`by` $kernel^)? (`workspace` `(` $workspace^ `:` type($workspace) `)`)? (`exchange` `(` $exchange^ `:` type($exchange) `)`)?
    `at` $place attr-dict `:` type($buffer)
  }];
  let hasVerifier = 1;
}

def Engine_CopyOp : Engine_Op<"copy", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "copy a buffer";
  let description = [{
    ```mlir
    engine.copy %x to %y tokens at "logits" : memref<8x64xf32> to memref<8x64xf32>
    engine.copy %x to %y tokens by @copy_0 at "logits" : memref<8x64xf32> to memref<8x64xf32>
    ```

    **Constraints**
    - (copy_c1) shapes and element types are equal;
    - (copy_c2) the kernel, if named, exists and its op is `copy`.
  }];
  let arguments = (ins AnyMemRef:$source, AnyMemRef:$dest, Engine_ExtentAttr:$extent, StrAttr:$place, OptionalAttr<FlatSymbolRefAttr>:$kernel);
  let assemblyFormat = "$source `to` $dest $extent (`by` $kernel^)? `at` $place attr-dict `:` type($source) `to` type($dest)";
  let hasVerifier = 1;
}

#endif // SADDLE_ENGINE_OPS
