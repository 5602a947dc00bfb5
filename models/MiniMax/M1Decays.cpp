#include "models/MiniMax/M1Decays.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Float.h"
#include "runtime/src/base/Slopes.h"

#include <cinttypes>
#include <cmath>
#include <cstring>
#include <iterator>

namespace saddle {

/// Of F32, BF16 or F16.
static float valueAt(const std::vector<uint8_t> &bytes, TensorDType dtype,
                     uint64_t index) {
  if (dtype == TensorDType::F32) {
    float value;
    std::memcpy(&value, bytes.data() + 4 * index, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes.data() + 2 * index, sizeof bits);
  return dtype == TensorDType::BF16 ? bf16ToFloat(bits) : f16ToFloat(bits);
}

static bool isFloat(TensorDType dtype) {
  return dtype == TensorDType::F32 || dtype == TensorDType::BF16 ||
         dtype == TensorDType::F16;
}

namespace {

/// A buffer of a layer, and what the engine will compute.
class Buffer {
public:
  Buffer(const M1Config &config, int64_t layer, const Checkpoint &checkpoint,
         const std::string &name, const TensorInfo &info, InputFile &file)
      : heads(uint64_t(config.attention.heads)), rate(config.decayRate(layer)),
        file(file), info(info),
        place(checkpoint.directory + ": tensor \"" + name + "\" ") {}

  double slope(uint64_t head) const { return alibiSlope(head, heads); }
  double decayed(uint64_t head, double tokens) const {
    return std::exp(-slope(head) * rate * tokens);
  }

  /// A value for each head.
  Status checkSlopes() const {
    SADDLE_RETURN_IF_ERROR(
        expectShape({heads, 1, 1}, "[" + std::to_string(heads) +
                                       ", 1, 1], a value for each head"));
    std::vector<float> found;
    SADDLE_RETURN_IF_ERROR(read(0, heads, found));
    for (uint64_t head = 0; head < heads; ++head) {
      double expected = slope(head) * rate;
      // bf16 rounds, and transformers divides a layer's place by one less 1e-5.
      double slack = expected * 0x1p-8 + slope(head) * 1e-5;
      SADDLE_RETURN_IF_ERROR(compare(head, "", found[head], expected, slack));
    }
    return Status();
  }

  /// Decays by `tokensOf(i)` tokens of a block, for each head.
  template <typename TokensOf>
  Status checkPowers(TokensOf tokensOf) const {
    uint64_t block = info.shape.size() == 3 ? info.shape[1] : 0;
    SADDLE_RETURN_IF_ERROR(
        expectShape({heads, block, 1},
                    "[" + std::to_string(heads) + ", tokens of a block, 1]"));
    for (uint64_t head = 0; head < heads; ++head)
      SADDLE_RETURN_IF_ERROR(
          checkRow(head, head * block, block, [&](uint64_t i) {
            return decayed(head, tokensOf(i, block));
          }));
    return Status();
  }

  /// Decays between the tokens of a block, zero upwards: the first and the last
  /// row of each head, which any other slope changes.
  Status checkDiagonal() const {
    uint64_t block = info.shape.empty() ? 0 : info.shape.back();
    SADDLE_RETURN_IF_ERROR(expectShape({1, heads, block, block},
                                       "[1, " + std::to_string(heads) +
                                           ", tokens of a block, as many]"));
    for (uint64_t head = 0; head < heads && block != 0; ++head) {
      uint64_t first = head * block * block;
      SADDLE_RETURN_IF_ERROR(checkRow(
          head, first, block, [](uint64_t i) { return i == 0 ? 1.0 : 0.0; }));
      SADDLE_RETURN_IF_ERROR(
          checkRow(head, first + (block - 1) * block, block, [&](uint64_t i) {
            return decayed(head, double(block - 1 - i));
          }));
    }
    return Status();
  }

private:
  Status expectShape(const std::vector<uint64_t> &shape,
                     const std::string &words) const {
    if (isFloat(info.dtype) && info.shape == shape)
      return Status();
    return makeError(StatusCode::Mismatch,
                     "%sis %s %s, expected F32, BF16 or F16 %s", place.c_str(),
                     info.dtypeName.c_str(), formatShape(info.shape).c_str(),
                     words.c_str());
  }

  Status read(uint64_t first, uint64_t count,
              std::vector<float> &values) const {
    uint64_t width = info.dtype == TensorDType::F32 ? 4 : 2;
    std::vector<uint8_t> bytes(count * width);
    SADDLE_RETURN_IF_ERROR(
        file.read(info.offset + first * width, bytes.data(), bytes.size()));
    values.clear();
    for (uint64_t i = 0; i < count; ++i)
      values.push_back(valueAt(bytes, info.dtype, i));
    return Status();
  }

  template <typename ExpectedOf>
  Status checkRow(uint64_t head, uint64_t first, uint64_t count,
                  ExpectedOf expectedOf) const {
    std::vector<float> found;
    SADDLE_RETURN_IF_ERROR(read(first, count, found));
    // A slope that was rounded moves what it is the exponent of.
    constexpr double kSlack = 0x1p-7;
    for (uint64_t i = 0; i < count; ++i)
      SADDLE_RETURN_IF_ERROR(compare(head, ", value " + std::to_string(i),
                                     found[i], expectedOf(i), kSlack));
    return Status();
  }

  Status compare(uint64_t head, const std::string &where, double found,
                 double expected, double slack) const {
    if (std::fabs(found - expected) <= slack)
      return Status();
    return makeError(
        StatusCode::Mismatch,
        "%sis %g for head %" PRIu64 "%s, but the decays of %" PRIu64
        " heads make %g; models with other decays are not "
        "implemented",
        place.c_str(), found, head, where.c_str(), heads, expected);
  }

  uint64_t heads;
  double rate;
  InputFile &file;
  const TensorInfo &info;
  std::string place;
};

} // namespace

static Status check(const Buffer &buffer, size_t kind) {
  switch (kind) {
  case 0: // slope_rate
    return buffer.checkSlopes();
  case 1: // query_decay
    return buffer.checkPowers(
        [](uint64_t i, uint64_t) { return double(i + 1); });
  case 2: // key_decay
    return buffer.checkPowers(
        [](uint64_t i, uint64_t block) { return double(block - 1 - i); });
  default:
    return buffer.checkDiagonal();
  }
}

Status checkStoredDecays(const M1Config &config, const Checkpoint &checkpoint) {
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer)
    for (size_t kind = 0; kind < std::size(decayBuffers); ++kind) {
      std::string name = "model.layers." + std::to_string(layer) +
                         ".self_attn." + decayBuffers[kind];
      auto found = checkpoint.tensors.find(name);
      if (!config.isLinear[size_t(layer)] || found == checkpoint.tensors.end())
        continue;
      const TensorInfo &info = found->second;
      SADDLE_ASSIGN_OR_RETURN(InputFile file,
                              InputFile::open(checkpoint.files[info.file]));
      SADDLE_RETURN_IF_ERROR(
          check(Buffer(config, layer, checkpoint, name, info, file), kind));
    }
  return Status();
}

} // namespace saddle
