#include "models/Common/ModuleBuilder.h"

#include <cmath>

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

static Type elementType(Builder &builder, TensorDType dtype) {
  switch (dtype) {
  case TensorDType::F32:
    return builder.getF32Type();
  case TensorDType::BF16:
    return builder.getBF16Type();
  case TensorDType::F16:
    return builder.getF16Type();
  case TensorDType::F8E4M3:
    return builder.getType<Float8E4M3FNType>();
  case TensorDType::I32:
    return builder.getI32Type();
  case TensorDType::F8E8M0:
    return builder.getType<Float8E8M0FNUType>();
  case TensorDType::I8:
    return builder.getIntegerType(8, /*isSigned=*/true);
  case TensorDType::I64:
    return builder.getI64Type();
  case TensorDType::U8:
  case TensorDType::Other:
    break;
  }
  return builder.getIntegerType(8, /*isSigned=*/false);
}

/// Of the values that a tensor of that dtype holds.
static Type valueType(Builder &builder, TensorDType dtype,
                      const TensorLayout &layout) {
  switch (layout.elements) {
  case Elements::AsStored:
    break;
  case Elements::UInt4:
    return builder.getIntegerType(4, /*isSigned=*/false);
  case Elements::UInt8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  case Elements::E2M1:
    return builder.getType<Float4E2M1FNType>();
  case Elements::E8M0:
    return builder.getType<Float8E8M0FNUType>();
  }
  return elementType(builder, dtype);
}

static PackingAttr packingOf(Builder &builder, TensorDType dtype,
                             const TensorLayout &layout) {
  if (layout.order.empty())
    return {};
  auto width = static_cast<unsigned>(8 * elementBytes(dtype));
  return PackingAttr::get(builder.getContext(), builder.getIntegerType(width),
                          layout.order, layout.alongRows);
}

static CompanionKind kindOf(CompanionRole role) {
  switch (role) {
  case CompanionRole::Scale:
    return CompanionKind::Scale;
  case CompanionRole::Zero:
    return CompanionKind::Zero;
  case CompanionRole::GlobalScale:
    return CompanionKind::GlobalScale;
  }
  llvm_unreachable("all roles are listed");
}

static RankedTensorType tensorType(Builder &builder, TensorDType dtype,
                                   const std::vector<uint64_t> &shape) {
  SmallVector<int64_t> extents(shape.begin(), shape.end());
  return RankedTensorType::get(extents, elementType(builder, dtype));
}

ModuleBuilder::ModuleBuilder(MLIRContext &context, const std::string &name,
                             const ModelFacts &facts,
                             const ModelWeights &weights,
                             const BuildOptions &options)
    : builder(&context), name(name), facts(facts), weights(weights),
      options(options), compute(elementType(builder, options.computeDType)),
      module(ModuleOp::create(loc(name))) {
  setAttributes();
  builder.setInsertionPointToEnd(module->getBody());
}

//===----------------------------------------------------------------------===//
// Module attributes
//===----------------------------------------------------------------------===//

void ModuleBuilder::setAttributes() {
  auto integer = [&](StringRef key, int64_t value) {
    return builder.getNamedAttr(key, builder.getI64IntegerAttr(value));
  };
  auto text = [&](StringRef key, const Twine &value) {
    return builder.getNamedAttr(key, builder.getStringAttr(value));
  };
  const TokenIds &tokens = facts.tokens;
  SmallVector<NamedAttribute> config = {
      text("architecture", facts.architecture),
      text("name", name),
      integer("hidden_size", facts.hidden),
      integer("num_hidden_layers", facts.layers),
      integer("vocab_size", facts.vocab),
      integer("bos_token_id", tokens.bos.empty() ? -1 : tokens.bos.front()),
      text("compute_dtype", dtypeName(options.computeDType)),
      text("kv_dtype", dtypeName(options.kvDType)),
      text("fingerprint", facts.fingerprint),
      builder.getNamedAttr("eos_token_ids",
                           builder.getDenseI64ArrayAttr(tokens.eos)),
  };
  (*module)->setAttr(ModelDialect::kConfigAttrName,
                     builder.getDictionaryAttr(config));
  options.limits.set(*module);
  setIgnored();
}

void ModuleBuilder::setIgnored() {
  auto integer = [&](StringRef key, int64_t value) {
    return builder.getNamedAttr(key, builder.getI64IntegerAttr(value));
  };
  auto text = [&](StringRef key, const Twine &value) {
    return builder.getNamedAttr(key, builder.getStringAttr(value));
  };
  SmallVector<NamedAttribute> ignored;
  for (const IgnoredWeight &weight : weights.ignored) {
    const WeightSpec &spec = weight.spec;
    auto ignore = [&](const std::string &source, TensorDType dtype,
                      const std::vector<uint64_t> &shape) {
      SmallVector<NamedAttribute> facts = {
          text("reason", weight.reason),
          integer("stack", static_cast<int64_t>(spec.stack)),
          builder.getNamedAttr(
              "type", TypeAttr::get(tensorType(builder, dtype, shape)))};
      if (weight.group)
        facts.push_back(integer("group", static_cast<int64_t>(weight.group)));
      if (weight.zero)
        facts.push_back(builder.getNamedAttr("zero", builder.getUnitAttr()));
      std::string key = source;
      if (!weights.checkpoint.empty()) {
        facts.push_back(text("checkpoint", weights.checkpoint));
        key = weights.checkpoint + ":" + source;
      }
      ignored.push_back(
          builder.getNamedAttr(key, builder.getDictionaryAttr(facts)));
    };
    ignore(spec.name, spec.dtype, spec.shape);
    for (const Companion &companion : spec.companions)
      ignore(companion.name, companion.dtype, companion.shape);
  }
  if (!ignored.empty())
    (*module)->setAttr(ModelDialect::kIgnoredSourcesAttrName,
                       builder.getDictionaryAttr(ignored));

  SmallVector<Attribute> parts;
  for (const StoredPart &part : weights.parts) {
    auto count = [&](StringRef key, uint64_t value) {
      return integer(key, static_cast<int64_t>(value));
    };
    parts.push_back(builder.getDictionaryAttr(
        {text("name", part.name), text("tensor", part.tensor),
         count("stack", part.stack),
         builder.getNamedAttr("columns", builder.getBoolAttr(part.columns)),
         count("first", part.first), count("count", part.count),
         count("of", part.of)}));
  }
  if (!parts.empty())
    (*module)->setAttr(ModelDialect::kStoredPartsAttrName,
                       builder.getArrayAttr(parts));
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

void ModuleBuilder::createWeights(
    llvm::function_ref<void(int64_t layer)> createState) {
  int64_t layer = -1;
  for (const ModelWeight &weight : weights.used) {
    if (weight.layer != layer && layer >= 0)
      createState(layer);
    layer = weight.layer;
    createWeight(weight);
  }
}

void ModuleBuilder::createWeight(const ModelWeight &weight) {
  const WeightSpec &spec = weight.spec;
  SmallVector<Attribute> dims;
  SmallVector<int64_t> shape;
  for (const Dimension &dim : weight.dims) {
    dims.push_back(DimAttr::get(builder.getContext(),
                                builder.getStringAttr(dim.name),
                                static_cast<int64_t>(dim.unit)));
    shape.push_back(static_cast<int64_t>(dim.extent));
  }
  SmallVector<CompanionAttr> companions;
  for (const Companion &companion : spec.companions)
    companions.push_back(CompanionAttr::get(
        builder.getContext(), kindOf(companion.role),
        valueType(builder, companion.dtype, companion.layout),
        static_cast<int64_t>(companion.blockRows),
        static_cast<int64_t>(companion.blockColumns),
        packingOf(builder, companion.dtype, companion.layout),
        companion.layout.transposed, companion.plus, companion.over,
        companion.divides, builder.getStringAttr(companion.name)));
  StorageAttr storage;
  if (!companions.empty())
    storage = StorageAttr::get(builder.getContext(),
                               packingOf(builder, spec.dtype, spec.layout),
                               spec.layout.transposed, spec.plus, spec.offset,
                               spec.rotated, /*codes=*/Type(), companions);
  WeightOp::create(
      builder, loc(weight.symbol), builder.getStringAttr(weight.symbol),
      builder.getStringAttr(spec.name),
      weights.checkpoint.empty() ? StringAttr()
                                 : builder.getStringAttr(weights.checkpoint),
      builder.getArrayAttr(dims), storage,
      TypeAttr::get(RankedTensorType::get(
          shape, valueType(builder, spec.dtype, spec.layout))));
}

void ModuleBuilder::createKVCache(const std::string &symbol, int64_t heads,
                                  int64_t headDim, const std::string &dim) {
  KVCacheOp::create(builder, loc(symbol), builder.getStringAttr(symbol),
                    builder.getI64IntegerAttr(heads),
                    builder.getI64IntegerAttr(headDim),
                    builder.getStringAttr(dim),
                    TypeAttr::get(elementType(builder, options.kvDType)));
}

void ModuleBuilder::createTokenRows(const std::string &symbol, int64_t width) {
  TokenRowsOp::create(builder, loc(symbol), builder.getStringAttr(symbol),
                      builder.getI64IntegerAttr(width), TypeAttr::get(compute));
}

void ModuleBuilder::createRecurrentState(const std::string &symbol,
                                         int64_t heads, int64_t rows,
                                         int64_t columns) {
  RecurrentStateOp::create(
      builder, loc(symbol), builder.getStringAttr(symbol),
      builder.getI64IntegerAttr(heads), builder.getI64IntegerAttr(rows),
      builder.getI64IntegerAttr(columns), builder.getStringAttr("q_heads"));
}

//===----------------------------------------------------------------------===//
// @step
//===----------------------------------------------------------------------===//

func::FuncOp ModuleBuilder::beginFunction(const std::string &name,
                                          ArrayRef<Type> results) {
  Type indices =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  auto type = builder.getFunctionType(
      {indices, indices, indices, builder.getType<ContextType>()}, results);
  auto function = func::FuncOp::create(builder, module->getLoc(), name, type);
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  tokens = body->getArgument(0);
  positions = body->getArgument(1);
  rows = body->getArgument(2);
  context = body->getArgument(3);
  return function;
}

Value ModuleBuilder::embed(const std::string &table, int64_t columns) {
  return EmbeddingOp::create(builder, loc(table), activation(columns), tokens,
                             ref(table));
}

Value ModuleBuilder::beginStep(const std::string &table) {
  int64_t count = std::min(options.candidates, facts.vocab);
  SmallVector<Type> outputs = {activation(facts.vocab, builder.getF32Type())};
  if (count > 0)
    outputs.append({activation(count, builder.getF32Type()),
                    activation(count, builder.getI32Type())});
  beginFunction("step", outputs);
  return embed(table, facts.hidden);
}

void ModuleBuilder::finishStep(Value x, const std::string &finalNorm,
                               double eps, const std::string &head) {
  Value selected =
      SelectRowsOp::create(builder, loc("select_rows"), x.getType(), x, rows);
  Value logits = linear(head, norm(finalNorm, selected, eps), facts.vocab,
                        builder.getF32Type());
  SmallVector<Value> results = {logits};
  auto step = cast<func::FuncOp>(builder.getBlock()->getParentOp());
  ArrayRef<Type> outputs = step.getFunctionType().getResults();
  if (outputs.size() > 1)
    llvm::append_range(results,
                       TopCandidatesOp::create(builder, loc("candidates"),
                                               outputs[1], outputs[2], logits)
                           .getResults());
  func::ReturnOp::create(builder, loc("logits"), results);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

std::string ModuleBuilder::prefix(int64_t layer) {
  return "layers." + std::to_string(layer) + ".";
}

Location ModuleBuilder::loc(const Twine &place) {
  return NameLoc::get(builder.getStringAttr(place));
}

FlatSymbolRefAttr ModuleBuilder::ref(const Twine &symbol) {
  return FlatSymbolRefAttr::get(builder.getStringAttr(symbol));
}

Type ModuleBuilder::activation(int64_t columns, Type element) {
  return RankedTensorType::get({ShapedType::kDynamic, columns},
                               element ? element : compute);
}

Value ModuleBuilder::norm(const std::string &symbol, Value x, double eps) {
  return RMSNormOp::create(builder, loc(symbol), x.getType(), x, ref(symbol),
                           builder.getF64FloatAttr(eps));
}

Value ModuleBuilder::linear(const std::string &symbol, Value x, int64_t columns,
                            Type element) {
  return LinearOp::create(builder, loc(symbol), activation(columns, element), x,
                          ref(symbol), /*act_group=*/IntegerAttr());
}

Value ModuleBuilder::add(const std::string &place, Value a, Value b) {
  return AddOp::create(builder, loc(place), a, b);
}

Value ModuleBuilder::rope(const std::string &place, Value x, int64_t headDim,
                          const RopeParameters &parameters) {
  return RopeOp::create(builder, loc(place), x.getType(), x, positions,
                        builder.getI64IntegerAttr(headDim),
                        builder.getI64IntegerAttr(parameters.dims),
                        builder.getF64FloatAttr(parameters.theta));
}

Value ModuleBuilder::cachedAttention(const std::string &place,
                                     const std::string &cache, Value q, Value k,
                                     Value v, int64_t headDim) {
  // Scaled by ops of their own, which any kernel of attention allows. In fp32
  // they are exact but for rounding; what is stored is rounded to fp8 once.
  auto scaled = [&](Value x, StringRef suffix, bool inverse) -> Value {
    std::string symbol = cache + suffix.str();
    if (!weights.find(symbol))
      return x;
    return ScaleOp::create(builder, loc(symbol), x.getType(), x, ref(symbol),
                           builder.getI64IntegerAttr(inverse));
  };
  k = scaled(k, kKeyScale, /*inverse=*/true);
  v = scaled(v, kValueScale, /*inverse=*/true);
  q = scaled(q, kKeyScale, /*inverse=*/false);
  KVAppendOp::create(builder, loc(cache + "_append"), k, v, ref(cache),
                     context);
  double scale = 1.0 / std::sqrt(static_cast<double>(headDim));
  Value result =
      AttentionOp::create(builder, loc(place), q.getType(), q, ref(cache),
                          context, builder.getF64FloatAttr(scale));
  return scaled(result, kValueScale, /*inverse=*/false);
}

Value ModuleBuilder::experts(const std::string &p, Value x, Value weights,
                             Value chosen) {
  return ExpertsOp::create(
      builder, loc(p + "experts"), x.getType(), x, weights, chosen,
      builder.getArrayAttr({ref(p + "w1"), ref(p + "w3")}), ref(p + "w2"),
      /*act_group=*/IntegerAttr());
}

Value ModuleBuilder::layerBoundary(const std::string &place, Value x,
                                   int64_t index) {
  return LayerBoundaryOp::create(builder, loc(place), x.getType(), x,
                                 builder.getI64IntegerAttr(index));
}
