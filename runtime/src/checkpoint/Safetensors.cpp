// The header of one safetensors file: 8 bytes of length, that many bytes of
// JSON, then the tensors' data. The header is untrusted; nothing is taken from
// it that the file's real size does not confirm.

#include "runtime/src/base/Download.h"
#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"
#include "runtime/src/checkpoint/Checkpoint.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

namespace saddle {

namespace {

constexpr uint64_t kMaxHeaderBytes = uint64_t(512) << 20;
constexpr size_t kMaxDimensions = 16;

struct DTypeSpelling {
  const char *name;
  TensorDType dtype;
  uint64_t bytes;
};

/// Every dtype of the format whose elements are whole bytes.
constexpr DTypeSpelling kSpellings[] = {
    {"F32", TensorDType::F32, 4},       {"BF16", TensorDType::BF16, 2},
    {"F16", TensorDType::F16, 2},       {"F8_E4M3", TensorDType::F8E4M3, 1},
    {"I32", TensorDType::I32, 4},       {"I64", TensorDType::I64, 8},
    {"U8", TensorDType::U8, 1},         {"F64", TensorDType::Other, 8},
    {"F8_E5M2", TensorDType::Other, 1}, {"F8_E8M0", TensorDType::F8E8M0, 1},
    {"I8", TensorDType::I8, 1},         {"I16", TensorDType::Other, 2},
    {"U16", TensorDType::Other, 2},     {"U32", TensorDType::Other, 4},
    {"U64", TensorDType::Other, 8},     {"BOOL", TensorDType::Other, 1},
};

const DTypeSpelling *findSpelling(const std::string &name) {
  for (const DTypeSpelling &spelling : kSpellings)
    if (name == spelling.name)
      return &spelling;
  return nullptr;
}

/// Product of `shape` and `unit`; nothing when it exceeds 64 bits.
std::optional<uint64_t> byteCount(const std::vector<uint64_t> &shape,
                                  uint64_t unit) {
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end())
    return 0;
  uint64_t product = unit;
  for (uint64_t dim : shape)
    if (__builtin_mul_overflow(product, dim, &product))
      return std::nullopt;
  return product;
}

/// Walks the header's events; one state per place in its fixed grammar.
class HeaderReader : public JsonHandler {
public:
  HeaderReader(const std::string &path, uint32_t file, uint64_t dataOffset,
               uint64_t dataBytes, std::map<std::string, TensorInfo> &tensors)
      : path(path), file(file), dataOffset(dataOffset), dataBytes(dataBytes),
        tensors(tensors) {}

  Status beginObject() override {
    switch (state) {
    case State::Start:
      state = State::Top;
      return Status();
    case State::TensorValue:
      state = State::Tensor;
      return Status();
    case State::MetadataValue:
      state = State::Metadata;
      return Status();
    default:
      return unexpected("an object");
    }
  }

  Status endObject() override {
    switch (state) {
    case State::Tensor:
      state = State::Top;
      return finishTensor();
    case State::Metadata:
      state = State::Top;
      return Status();
    default: // the parser balances braces, so this is the outermost one
      state = State::Done;
      return Status();
    }
  }

  Status beginArray() override {
    if (inArray || (state != State::Shape && state != State::Offsets))
      return unexpected("an array");
    std::vector<uint64_t> &list = state == State::Shape ? info.shape : offsets;
    list.clear();
    inArray = true;
    return Status();
  }

  Status endArray() override {
    inArray = false;
    if (state == State::Offsets && offsets.size() != 2)
      return tensorError("data_offsets has %zu entries, expected 2",
                         offsets.size());
    state = State::Tensor;
    return Status();
  }

  Status key(std::string &key) override {
    switch (state) {
    case State::Top:
      name = std::move(key);
      if (name == "__metadata__") {
        if (std::exchange(hasMetadata, true))
          return tensorError("appears twice in the header");
        state = State::MetadataValue;
        return Status();
      }
      info = TensorInfo();
      info.file = file;
      hasDType = hasShape = hasOffsets = false;
      state = State::TensorValue;
      return Status();
    case State::Tensor:
      if (key == "dtype")
        return enter(key, hasDType, State::DType);
      if (key == "shape")
        return enter(key, hasShape, State::Shape);
      if (key == "data_offsets")
        return enter(key, hasOffsets, State::Offsets);
      return tensorError("unknown field \"%s\", expected dtype, shape and "
                         "data_offsets",
                         key.c_str());
    default: // a key of __metadata__
      return Status();
    }
  }

  Status scalar(JsonScalar &value) override {
    switch (state) {
    case State::Metadata:
      if (value.kind == JsonScalar::Kind::String)
        return Status();
      break;
    case State::DType:
      if (value.kind != JsonScalar::Kind::String)
        break;
      info.dtypeName = std::move(value.text);
      state = State::Tensor;
      return Status();
    case State::Shape:
    case State::Offsets: {
      if (!inArray)
        break;
      bool isShape = state == State::Shape;
      if (value.kind != JsonScalar::Kind::Unsigned)
        return tensorError("%s holds %.40s, expected whole numbers from 0 to "
                           "2^64-1",
                           isShape ? "shape" : "data_offsets",
                           value.text.c_str());
      std::vector<uint64_t> &list = isShape ? info.shape : offsets;
      size_t limit = isShape ? kMaxDimensions : 2;
      if (list.size() == limit)
        return tensorError("%s has more than %zu entries",
                           isShape ? "shape" : "data_offsets", limit);
      list.push_back(value.number);
      return Status();
    }
    default:
      break;
    }
    return unexpected(value.kind == JsonScalar::Kind::String ? "a string"
                      : value.kind == JsonScalar::Kind::Unsigned
                          ? "a number"
                          : value.text.c_str());
  }

  /// Call after the last event: the ranges together must be the data, no byte
  /// twice and none unused, so that a damaged offset cannot go unnoticed.
  Status checkCoverage() {
    std::sort(ranges.begin(), ranges.end(), [](const auto &a, const auto &b) {
      return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    uint64_t covered = 0;
    const std::string *previous = nullptr;
    for (const Range &range : ranges) {
      if (range.begin < covered)
        return makeError(StatusCode::DataLoss,
                         "%s: tensor \"%s\": data begins at %" PRIu64
                         ", inside tensor \"%s\", whose data ends at %" PRIu64,
                         path.c_str(), range.name->c_str(), range.begin,
                         previous->c_str(), covered);
      if (range.begin > covered)
        return makeError(StatusCode::DataLoss,
                         "%s: bytes %" PRIu64 " to %" PRIu64
                         " of the data belong to no tensor (before \"%s\")",
                         path.c_str(), covered, range.begin,
                         range.name->c_str());
      covered = range.end;
      previous = range.name;
    }
    if (covered != dataBytes)
      return makeError(StatusCode::DataLoss,
                       "%s: the tensors end at byte %" PRIu64
                       " of the data, but the file holds %" PRIu64 " bytes",
                       path.c_str(), covered, dataBytes);
    return Status();
  }

private:
  enum class State {
    Start,
    Top,
    MetadataValue,
    Metadata,
    TensorValue,
    Tensor,
    DType,
    Shape,
    Offsets,
    Done,
  };

  struct Range {
    uint64_t begin;
    uint64_t end;
    const std::string *name; // key in `tensors`
  };

  Status enter(const std::string &key, bool &seen, State next) {
    if (std::exchange(seen, true))
      return tensorError("field \"%s\" appears twice", key.c_str());
    state = next;
    return Status();
  }

  Status finishTensor() {
    if (!hasDType || !hasShape || !hasOffsets)
      return tensorError("has no %s", !hasDType   ? "dtype"
                                      : !hasShape ? "shape"
                                                  : "data_offsets");
    const DTypeSpelling *spelling = findSpelling(info.dtypeName);
    if (!spelling)
      return tensorError("unknown dtype \"%s\"", info.dtypeName.c_str());
    info.dtype = spelling->dtype;
    uint64_t begin = offsets[0], end = offsets[1];
    if (begin > end)
      return tensorError(
          "data_offsets [%" PRIu64 ", %" PRIu64 "] run backwards", begin, end);
    if (end > dataBytes)
      return tensorError("data_offsets [%" PRIu64 ", %" PRIu64
                         "] point beyond the %" PRIu64
                         " bytes of data in the file",
                         begin, end, dataBytes);
    std::optional<uint64_t> needed = byteCount(info.shape, spelling->bytes);
    if (!needed)
      return tensorError("shape %s of %s needs more than 2^64 bytes",
                         formatShape(info.shape).c_str(),
                         info.dtypeName.c_str());
    if (*needed != end - begin)
      return tensorError("data_offsets [%" PRIu64 ", %" PRIu64 "] hold %" PRIu64
                         " bytes, but shape %s of %s needs %" PRIu64,
                         begin, end, end - begin,
                         formatShape(info.shape).c_str(),
                         info.dtypeName.c_str(), *needed);
    info.offset = dataOffset + begin;
    info.bytes = end - begin;
    auto [entry, isNew] = tensors.emplace(name, std::move(info));
    if (!isNew)
      return tensorError("appears twice in the header");
    ranges.push_back(Range{begin, end, &entry->first});
    return Status();
  }

  Status unexpected(const char *found) {
    if (state == State::Start)
      return makeError(StatusCode::DataLoss,
                       "%s: the header is %s, expected a JSON object",
                       path.c_str(), found);
    const char *expected = "an object";
    if (state == State::DType)
      expected = "a string as dtype";
    else if (state == State::Shape)
      expected = "an array of numbers as shape";
    else if (state == State::Offsets)
      expected = "an array of two numbers as data_offsets";
    else if (state == State::Metadata)
      expected = "strings only";
    return tensorError("found %s, expected %s", found, expected);
  }

  [[gnu::format(printf, 2, 3)]] Status tensorError(const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return makeError(StatusCode::DataLoss, "%s: tensor \"%s\": %s",
                     path.c_str(), name.c_str(), text);
  }

  const std::string &path;
  const uint32_t file;
  const uint64_t dataOffset;
  const uint64_t dataBytes;
  std::map<std::string, TensorInfo> &tensors;

  State state = State::Start;
  bool inArray = false;
  bool hasMetadata = false;
  std::string name;
  TensorInfo info;
  std::vector<uint64_t> offsets;
  bool hasDType = false, hasShape = false, hasOffsets = false;
  std::vector<Range> ranges;
};

} // namespace

Status readSafetensorsHeader(const std::string &path, uint32_t file,
                             std::map<std::string, TensorInfo> &tensors) {
  SADDLE_ASSIGN_OR_RETURN(InputFile opened, InputFile::open(path));
  uint64_t size = opened.size();
  uint8_t start[64] = {};
  Bytes known(start, size_t(std::min<uint64_t>(size, sizeof start)));
  SADDLE_RETURN_IF_ERROR(opened.read(0, start, known.size()));
  if (const char *found = describeDownload(known))
    return makeError(StatusCode::DataLoss,
                     "%s: expected a safetensors file, but this is %s",
                     path.c_str(), found);
  if (size < 8)
    return makeError(StatusCode::DataLoss,
                     "%s: %" PRIu64
                     " bytes are too few for a safetensors file, which "
                     "begins with 8 bytes of header length",
                     path.c_str(), size);
  uint64_t headerBytes = 0;
  for (unsigned i = 0; i < 8; ++i)
    headerBytes |= uint64_t(start[i]) << (8 * i);
  if (headerBytes > kMaxHeaderBytes)
    return makeError(StatusCode::DataLoss,
                     "%s: a header of %" PRIu64
                     " bytes is announced, the limit is %" PRIu64
                     "; is this a safetensors file?",
                     path.c_str(), headerBytes, kMaxHeaderBytes);
  if (headerBytes > size - 8)
    return makeError(StatusCode::DataLoss,
                     "%s: truncated: the header needs %" PRIu64
                     " bytes, but the file has %" PRIu64,
                     path.c_str(), headerBytes + 8, size);
  std::optional<OwnedBytes> header = OwnedBytes::allocate(headerBytes);
  if (!header)
    return makeError(StatusCode::ResourceExhausted,
                     "%s: no memory for its header of %" PRIu64 " bytes",
                     path.c_str(), headerBytes);
  SADDLE_RETURN_IF_ERROR(opened.read(8, header->data(), header->size()));
  uint64_t dataOffset = 8 + headerBytes;
  HeaderReader reader(path, file, dataOffset, size - dataOffset, tensors);
  SADDLE_RETURN_IF_ERROR(parseJson(path + ": header", header->bytes(), reader));
  return reader.checkCoverage();
}

uint64_t elementBytes(TensorDType dtype) {
  for (const DTypeSpelling &spelling : kSpellings)
    if (spelling.dtype == dtype && dtype != TensorDType::Other)
      return spelling.bytes;
  return 0;
}

const char *dtypeName(TensorDType dtype) {
  switch (dtype) {
  case TensorDType::F32:
    return "f32";
  case TensorDType::BF16:
    return "bf16";
  case TensorDType::F16:
    return "f16";
  case TensorDType::F8E4M3:
    return "f8e4m3";
  case TensorDType::F8E8M0:
    return "f8e8m0";
  case TensorDType::I8:
    return "i8";
  case TensorDType::I32:
    return "i32";
  case TensorDType::I64:
    return "i64";
  case TensorDType::U8:
    return "u8";
  case TensorDType::Other:
    break;
  }
  return "other";
}

std::string formatShape(const std::vector<uint64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

} // namespace saddle
