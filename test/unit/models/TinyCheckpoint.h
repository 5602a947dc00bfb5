// The tensors of smallConfig() and smallFp8Config(), listed independently of
// the import, as a map that tests damage before they write it.

#ifndef SADDLE_TEST_UNIT_MODELS_TINYCHECKPOINT_H
#define SADDLE_TEST_UNIT_MODELS_TINYCHECKPOINT_H

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"
#include "test/unit/models/SmallConfig.h"

#include <map>

namespace saddle {

class TinyCheckpoint {
public:
  /// Unquantised tensors are `dtype`; with `fp8` the router is F32, attention
  /// and experts are F8_E4M3 with [1, 1] scales (all dims are below 128).
  explicit TinyCheckpoint(bool fp8 = false, const std::string &dtype = "BF16") {
    std::string router = fp8 ? "F32" : dtype;
    set("model.embed_tokens.weight", dtype, {40, 32});
    set("model.norm.weight", dtype, {32});
    set("lm_head.weight", dtype, {40, 32});
    for (const char *layer : {"model.layers.0.", "model.layers.1."}) {
      std::string at = layer;
      set(at + "input_layernorm.weight", dtype, {32});
      set(at + "post_attention_layernorm.weight", dtype, {32});
      set(at + "self_attn.q_norm.weight", dtype, {48});
      set(at + "self_attn.k_norm.weight", dtype, {16});
      set(at + "block_sparse_moe.gate.weight", router, {3, 32});
      set(at + "block_sparse_moe.e_score_correction_bias", router, {3});
      projection(at + "self_attn.q_proj", fp8, dtype, 48, 32);
      projection(at + "self_attn.k_proj", fp8, dtype, 16, 32);
      projection(at + "self_attn.v_proj", fp8, dtype, 16, 32);
      projection(at + "self_attn.o_proj", fp8, dtype, 32, 48);
      for (const char *expert : {"0.", "1.", "2."}) {
        std::string moe = at + "block_sparse_moe.experts." + expert;
        projection(moe + "w1", fp8, dtype, 24, 32);
        projection(moe + "w3", fp8, dtype, 24, 32);
        projection(moe + "w2", fp8, dtype, 32, 24);
      }
    }
  }

  void set(const std::string &name, const std::string &dtype,
           const std::vector<uint64_t> &shape) {
    uint64_t bytes = dtype == "F32" || dtype == "I32"      ? 4
                     : dtype == "I64"                      ? 8
                     : dtype == "F8_E4M3" || dtype == "U8" ? 1
                                                           : 2;
    for (uint64_t dim : shape)
      bytes *= dim;
    tensors[name] = {name, dtype, shape, std::string(bytes, '\0')};
  }
  void erase(const std::string &name) { tensors.erase(name); }

  /// Writes model.safetensors.
  void write(const TemporaryFolder &folder) const {
    std::vector<TestTensor> list;
    for (const auto &entry : tensors)
      list.push_back(entry.second);
    folder.write("model.safetensors", safetensors(list));
  }

  std::map<std::string, TestTensor> tensors;

private:
  void projection(const std::string &module, bool fp8, const std::string &dtype,
                  uint64_t rows, uint64_t columns) {
    set(module + ".weight", fp8 ? "F8_E4M3" : dtype, {rows, columns});
    if (fp8)
      set(module + ".weight_scale_inv", "F32", {1, 1});
  }
};

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_TINYCHECKPOINT_H
