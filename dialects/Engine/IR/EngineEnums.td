#ifndef SADDLE_ENGINE_ENUMS
#define SADDLE_ENGINE_ENUMS

include "mlir/IR/EnumAttr.td"

class Engine_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::saddle::engine";
  let genSpecializedAttr = 0;
}

// Values are those of the schema's enums; its TOKEN_BLOCK is of engines that exist.
def Engine_ArenaKind : Engine_Enum<"ArenaKind", "what an arena holds and for how long",
    [I32EnumAttrCase<"Constant", 1, "constant">, I32EnumAttrCase<"Pages", 2, "pages">,
     I32EnumAttrCase<"Transient", 3, "transient">, I32EnumAttrCase<"IO", 4, "io">,
     I32EnumAttrCase<"Exchange", 5, "exchange">, I32EnumAttrCase<"Sequences", 6, "sequences">]>;
def Engine_StateKind : Engine_Enum<"StateKind", "what one unit of a state belongs to",
    [I32EnumAttrCase<"Paged", 1, "paged">, I32EnumAttrCase<"Sequence", 2, "sequence">,
     I32EnumAttrCase<"IndexKeys", 3, "index_keys">]>;
def Engine_Phase : Engine_Enum<"Phase", "what an entry is for",
    [I32EnumAttrCase<"Decode", 1, "decode">, I32EnumAttrCase<"Prefill", 2, "prefill">]>;
def Engine_Extent : Engine_Enum<"Extent", "which run-time count bounds dimension 0",
    [I32EnumAttrCase<"Tokens", 1, "tokens">, I32EnumAttrCase<"Rows", 2, "rows">, I32EnumAttrCase<"AllTokens", 3, "all_tokens">,
     I32EnumAttrCase<"AllRows", 4, "all_rows">, I32EnumAttrCase<"TokenShare", 6, "token_share">]>;
def Engine_TransferKind : Engine_Enum<"TransferKind", "direction of a transfer between stages",
    [I32EnumAttrCase<"Send", 1, "send">, I32EnumAttrCase<"Receive", 2, "receive">]>;
def Engine_CollectiveKind : Engine_Enum<"CollectiveKind", "what a collective computes",
    [I32EnumAttrCase<"AllReduceSum", 1, "all_reduce_sum">, I32EnumAttrCase<"AllGather", 2, "all_gather">,
     I32EnumAttrCase<"ReduceScatterSum", 3, "reduce_scatter_sum">]>;

#endif // SADDLE_ENGINE_ENUMS
