#include "runtime/src/weights/CompareSources.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/checkpoint/Fingerprint.h"
#include "runtime/src/weights/RecipeSource.h"

#include <algorithm>
#include <optional>

namespace saddle::weights {

using schema::DType;

DType schemaDType(TensorDType dtype) {
  switch (dtype) {
  case TensorDType::F32:
    return DType::F32;
  case TensorDType::BF16:
    return DType::BF16;
  case TensorDType::F16:
    return DType::F16;
  case TensorDType::F8E4M3:
    return DType::F8E4M3;
  case TensorDType::F8E8M0:
    return DType::F8E8M0;
  case TensorDType::I8:
    return DType::I8;
  case TensorDType::I32:
    return DType::I32;
  case TensorDType::U8:
    return DType::U8;
  case TensorDType::I64:
    return DType::I64;
  case TensorDType::Other:
    break;
  }
  return DType::UNKNOWN;
}

namespace {

constexpr size_t kListedDifferences = 4;

/// One tensor that the engine knows.
struct Expected {
  std::string name;
  uint32_t source;
  uint64_t member;
};

/// The tensor dtype of plain values, if it is one.
std::optional<TensorDType> valuesOf(DType dtype) {
  switch (dtype) {
  case DType::F32:
    return TensorDType::F32;
  case DType::BF16:
    return TensorDType::BF16;
  case DType::F16:
    return TensorDType::F16;
  default:
    return std::nullopt;
  }
}

bool holdsValues(TensorDType dtype) {
  return valuesOf(schemaDType(dtype)).has_value();
}

/// Of each source whether it holds plain values of one tensor and every weight
/// that reads it is f32.
std::vector<bool> findWidened(const schema::Engine &engine) {
  std::vector<bool> widened(engine.sources()->size(), false);
  auto pieces = [&](auto use) {
    for (const schema::Program *program : *engine.programs())
      for (const schema::Weight *weight : *program->weights())
        for (const schema::Piece *piece : *weight->pieces())
          use(piece->source(), weight->slice()->dtype());
  };
  pieces([&](uint32_t source, DType) {
    const schema::Source &read = *engine.sources()->Get(source);
    widened[source] = valuesOf(read.dtype()) && !read.stack() &&
                      !read.companion_of() && !read.unpacking();
  });
  pieces([&](uint32_t source, DType dtype) {
    widened[source] = widened[source] && dtype == DType::F32;
  });
  return widened;
}

std::vector<Expected> expand(const schema::Engine &engine, uint32_t index) {
  std::vector<Expected> all;
  for (uint32_t i = 0; i < engine.sources()->size(); ++i) {
    const schema::Source &source = *engine.sources()->Get(i);
    if (source.checkpoint() != index)
      continue;
    uint64_t members = std::max<uint64_t>(1, source.stack());
    for (uint64_t m = 0; m < members; ++m)
      all.push_back({memberName(source, m), i, m});
  }
  std::sort(all.begin(), all.end(), [](const Expected &a, const Expected &b) {
    return a.name < b.name;
  });
  return all;
}

class Matcher {
public:
  Matcher(const schema::Engine &engine, uint32_t index,
          const Checkpoint &checkpoint)
      : engine(engine), index(index), checkpoint(checkpoint),
        expected(expand(engine, index)), becomesF32(findWidened(engine)) {}

  StatusOr<MatchedTensors> match();

private:
  void add(const std::string &difference) {
    if (++differences <= kListedDifferences)
      text += (differences > 1 ? "; " : "") + difference;
  }
  /// The dtype that counts for the fingerprint.
  TensorDType compare(const Expected &wanted, const TensorInfo &found);
  void missing(const Expected &wanted);
  void extra(const std::string &name);

  const schema::Source &sourceOf(const Expected &wanted) const {
    return *engine.sources()->Get(wanted.source);
  }
  /// The name of a weight's scale; "" when it has none.
  std::string scaleOf(const Expected &weight) const {
    for (const schema::Source *source : *engine.sources())
      if (source->companion_of() == weight.source + 1 &&
          source->companion() == schema::CompanionKind::SCALE)
        return memberName(*source, weight.member);
    return "";
  }
  bool folderHas(const std::string &name) const {
    return checkpoint.tensors.count(name) != 0;
  }
  bool engineReads(const std::string &name) const {
    auto found = std::lower_bound(
        expected.begin(), expected.end(), name,
        [](const Expected &e, const std::string &n) { return e.name < n; });
    return found != expected.end() && found->name == name &&
           !sourceOf(*found).ignored_reason();
  }

  const schema::Engine &engine;
  const uint32_t index; // of the checkpoint in the engine
  const Checkpoint &checkpoint;
  const std::vector<Expected> expected; // by name
  const std::vector<bool> becomesF32;   // by source
  MatchedTensors matched;
  Fingerprint fingerprint;
  size_t differences = 0;
  std::string text;
};

const char *kindName(schema::CompanionKind kind) {
  switch (kind) {
  case schema::CompanionKind::ZERO:
    return "zero point";
  case schema::CompanionKind::GLOBAL_SCALE:
    return "global scale";
  default:
    return "scale";
  }
}

std::string describe(const schema::Source &source) {
  std::vector<uint64_t> shape(source.shape()->begin(), source.shape()->end());
  return dtypeName(source.dtype()) + (" " + formatShape(shape));
}

/// The weight that a tensor which no engine knows scales, by its name:
/// "x.weight" of "x.weight_scale" and "x.weight_scale_inv"; "" when it is no
/// scale.
std::string scaledBy(const std::string &name) {
  size_t end = name.rfind("_scale");
  return end == std::string::npos || end < name.rfind('.') + 1
             ? ""
             : name.substr(0, end);
}

TensorDType Matcher::compare(const Expected &wanted, const TensorInfo &found) {
  const schema::Source &source = sourceOf(wanted);
  matched[wanted.source][wanted.member] = &found;
  bool fits = std::equal(found.shape.begin(), found.shape.end(),
                         source.shape()->begin(), source.shape()->end()) ||
              isSameLine(found.shape, *source.shape());
  // Bytes that hold something else may be called signed or unsigned.
  bool isBytes =
      source.unpacking() && elementBytes(source.dtype()) == 1 &&
      (found.dtype == TensorDType::I8 || found.dtype == TensorDType::U8);
  if (fits && isBytes)
    return source.dtype() == DType::F8E4M3 ? TensorDType::F8E4M3
                                           : TensorDType::U8;
  if (fits && schemaDType(found.dtype) == source.dtype())
    return found.dtype;
  if (fits && becomesF32[wanted.source] && holdsValues(found.dtype))
    return *valuesOf(source.dtype());
  std::string type = found.dtype == TensorDType::Other ? found.dtypeName
                                                       : dtypeName(found.dtype);
  add("tensor \"" + wanted.name + "\" is " + type + " " +
      formatShape(found.shape) + ", expected " + describe(source));
  return found.dtype;
}

void Matcher::missing(const Expected &wanted) {
  std::string message = "tensor \"" + wanted.name + "\" is missing, expected " +
                        describe(sourceOf(wanted));
  uint32_t of = sourceOf(wanted).companion_of();
  std::string weight =
      of ? memberName(*engine.sources()->Get(of - 1), wanted.member) : "";
  std::string scale = scaleOf(wanted);
  if (of && folderHas(weight))
    message += std::string(" as the ") +
               kindName(sourceOf(wanted).companion()) + " of \"" + weight +
               "\", which is there";
  else if (!scale.empty() && folderHas(scale))
    message += ", although its scale \"" + scale + "\" is there";
  add(message);
}

void Matcher::extra(const std::string &name) {
  std::string message = "tensor \"" + name + "\" is not part of the model";
  std::string weight = scaledBy(name);
  if (!weight.empty() && engineReads(weight))
    message += ": the engine reads \"" + weight + "\" without a scale";
  else if (!weight.empty() && !folderHas(weight))
    message += ": it is a scale without its weight \"" + weight + "\"";
  add(message);
}

StatusOr<MatchedTensors> Matcher::match() {
  for (const schema::Source *source : *engine.sources())
    matched.emplace_back(source->ignored_reason() ||
                                 source->checkpoint() != index
                             ? 0
                             : std::max<uint64_t>(1, source->stack()));
  auto found = checkpoint.tensors.begin(), end = checkpoint.tensors.end();
  auto addExtras = [&](const std::string *until) {
    for (; found != end && (!until || found->first < *until); ++found) {
      extra(found->first);
      fingerprint.add(found->first, found->second.dtype, found->second.shape);
    }
  };
  for (const Expected &wanted : expected) {
    addExtras(&wanted.name);
    bool present = found != end && found->first == wanted.name;
    if (!sourceOf(wanted).ignored_reason()) {
      if (present) {
        TensorDType dtype = compare(wanted, found->second);
        fingerprint.add(found->first, dtype, found->second.shape);
      } else {
        missing(wanted);
      }
    }
    if (present)
      ++found;
  }
  addExtras(nullptr);

  std::string has = fingerprint.hex(),
              wants = engine.checkpoints()->Get(index)->fingerprint()->str();
  if (differences == 0 && has == wants)
    return std::move(matched);
  if (differences == 0)
    text = "every tensor is as the engine expects, so the engine itself is "
           "inconsistent; compile it again";
  if (differences > kListedDifferences)
    text += "; and " + std::to_string(differences - kListedDifferences) +
            " more differences";
  return makeError(StatusCode::Mismatch,
                   "%s: these are not the weights that the engine was compiled "
                   "for (fingerprint %s, expected %s); compile this folder to "
                   "run it: %s",
                   checkpoint.directory.c_str(), has.c_str(), wants.c_str(),
                   text.c_str());
}

} // namespace

StatusOr<MatchedTensors> matchSources(const schema::Engine &engine,
                                      uint32_t index,
                                      const Checkpoint &checkpoint) {
  return Matcher(engine, index, checkpoint).match();
}

} // namespace saddle::weights
