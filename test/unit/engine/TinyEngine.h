// A small but complete engine for tests: every kind of table, most kernels, any
// topology that the model's small numbers allow, built with the FlatBuffers
// object API so that tests can bend it.

#ifndef SADDLE_TEST_UNIT_ENGINE_TINYENGINE_H
#define SADDLE_TEST_UNIT_ENGINE_TINYENGINE_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace saddle {

/// The model: hidden 8, 4 query and 2 KV heads of 4 dims (QK norm, rotary 2),
/// 4 experts of width 4, top 2, vocabulary 16.
struct TinyOptions {
  uint32_t tp = 1; // a power of two
  uint32_t dp = 1; // tp / dp up to 4; with 4 each KV head lives on two ranks
  uint32_t ep = 0; // up to 4; 0: as many as that and tp allow
  uint32_t pp = 1; // up to `layers`; earlier stages get the odd ones
  /// How all replicas' tokens lie.
  schema::RowLayout layout = schema::RowLayout::PACKED;
  /// Sums in attention are scattered to token blocks and gathered again.
  bool tokenBlocks = false;
  bool tokenShares = false; // with tokenBlocks: to token shares
  uint32_t layers = 1;
  schema::DType compute = schema::DType::F32;
  schema::DType kv = schema::DType::F32;
  schema::DType weights = schema::DType::BF16; // of every source but the bias
  uint64_t maxBatch = 4;
  uint64_t maxSeqLen = 16;
  uint64_t prefillChunk = 8;
  uint64_t pageSize = 4;
  uint64_t candidates = 0; // of each row, up to a rank's vocabulary
  /// A second program, "draft": the same model with weights of a checkpoint of
  /// its own, "draft", but for the embedding, which it shares.
  bool draft = false;
  /// Drafted tokens of a sequence that a step verifies: decode entries are so
  /// much larger.
  uint64_t specTokens = 0;
  /// Beside attention a decay_scan runs, whose state is the sequence's; their
  /// outputs are added.
  bool recurrent = false;
};

/// Entries "decode" (max_batch tokens) and "prefill" (prefill_chunk tokens),
/// both with max_batch logits rows. Rank groups are "tp" and, with dp > 1,
/// "attention" and "replicas".
std::unique_ptr<schema::EngineT> tinyEngine(const TinyOptions &options = {});

/// Sets the checkpoints' fingerprints to what the sources say.
void updateFingerprint(schema::EngineT &engine);

/// Gives the draft, if there is one, the weights of the main program, so that
/// it is often right; it never sees the first token of a text.
void copyMainWeights(schema::EngineT &engine);

/// The finished FlatBuffer of `engine`.
std::vector<uint8_t> flatBufferOf(const schema::EngineT &engine);

/// The whole engine file of `engine`.
std::vector<uint8_t> engineFileOf(const schema::EngineT &engine);

} // namespace saddle

#endif // SADDLE_TEST_UNIT_ENGINE_TINYENGINE_H
