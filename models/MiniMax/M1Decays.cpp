#include "models/MiniMax/M1Decays.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Float.h"
#include "runtime/src/base/Slopes.h"

#include <cmath>
#include <cstring>

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

static Status checkLayer(const M1Config &config, int64_t layer,
                         const std::string &path, const TensorInfo &info,
                         const std::string &place) {
  auto heads = uint64_t(config.attention.heads);
  bool isFloat = info.dtype == TensorDType::F32 ||
                 info.dtype == TensorDType::BF16 ||
                 info.dtype == TensorDType::F16;
  if (!isFloat || info.shape != std::vector<uint64_t>{heads, 1, 1})
    return Status(StatusCode::Mismatch, place + "is " + info.dtypeName + " " +
                                            formatShape(info.shape) +
                                            ", expected F32, BF16 or F16 [" +
                                            std::to_string(heads) +
                                            ", 1, 1], a value for each head");
  std::vector<uint8_t> bytes(info.bytes);
  SADDLE_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  SADDLE_RETURN_IF_ERROR(file.read(info.offset, bytes.data(), bytes.size()));
  for (uint64_t head = 0; head < heads; ++head) {
    double slope = alibiSlope(head, heads);
    double expected = slope * config.decayRate(layer);
    double found = valueAt(bytes, info.dtype, head);
    // bf16 rounds, and transformers divides a layer's place by one less 1e-5.
    double slack = expected * 0x1p-8 + slope * 1e-5;
    if (std::fabs(found - expected) <= slack)
      continue;
    char text[160];
    std::snprintf(text, sizeof text,
                  "is %g for head %llu, but the decays of %llu heads make %g; "
                  "models with other decays are not implemented",
                  found, (unsigned long long)head, (unsigned long long)heads,
                  expected);
    return Status(StatusCode::Mismatch, place + text);
  }
  return Status();
}

Status checkStoredDecays(const M1Config &config, const Checkpoint &checkpoint) {
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    std::string name = "model.layers." + std::to_string(layer) + ".self_attn." +
                       decayBuffers[0];
    auto found = checkpoint.tensors.find(name);
    if (!config.isLinear[size_t(layer)] || found == checkpoint.tensors.end())
      continue;
    SADDLE_RETURN_IF_ERROR(checkLayer(
        config, layer, checkpoint.files[found->second.file], found->second,
        checkpoint.directory + ": tensor \"" + name + "\" "));
  }
  return Status();
}

} // namespace saddle
