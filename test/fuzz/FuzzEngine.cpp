// An engine file. The input is the FlatBuffer; the envelope with its hashes is
// put around it here, so that whatever is in it is looked at. Half of the
// mutations are of tables and numbers, by the schema. What loads for the CPU
// and is small runs a step.

#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/EngineFile.h"
#include "runtime/src/session/Session.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>

using namespace saddle;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

static uint64_t bytesOf(const schema::Engine &root) {
  uint64_t bytes = 0;
  for (const schema::Arena *arena : *root.arenas())
    bytes += std::min<uint64_t>(arena->bytes(), uint64_t(1) << 40);
  return bytes;
}

static void run(std::shared_ptr<const Engine> engine) {
  const schema::Engine &root = engine->root();
  constexpr uint64_t kMostBytes = 16 << 20;
  if (root.target()->str() != "cpu" || engine->worldSize() > 4 ||
      bytesOf(root) > kMostBytes || root.limits()->max_seq_len() > 4096 ||
      root.limits()->max_batch() > 64)
    return;
  session::SessionOptions options;
  options.timeout = std::chrono::milliseconds(2000);
  options.kvTokens = 16;
  auto session = session::Session::create(engine, "synthetic:1", options);
  if (!session.ok())
    return;
  auto sequence = (*session)->addSequence();
  if (!sequence.ok())
    return;
  const int32_t tokens[] = {1, 0, 2};
  session::SequenceInput input{
      *sequence, {tokens, 3}, session::LogitsWanted::None};
  (void)(*session)->step({&input, 1}, {});
  input.tokens = {tokens, 1};
  (void)(*session)->step({&input, 1}, {});
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> file = packEngineFile(Bytes(data, size), Bytes());
  auto engine = Engine::fromBytes(file.data(), file.size(), "e");
  if (engine.ok())
    run(std::move(*engine));
  else if (engine.status().message().empty())
    __builtin_trap();
  return 0;
}

namespace {

/// Changes of the tree that the schema describes.
class TreeMutator {
public:
  explicit TreeMutator(unsigned seed) : random(seed) {}

  void mutate(schema::EngineT &engine) {
    switch (below(8)) {
    case 0:
      return shuffle(engine.programs);
    case 1:
      return shuffle(engine.kernels);
    case 2:
      return shuffle(engine.arenas);
    case 3:
      return number(engine.limits->max_batch);
    case 4:
      return number(engine.limits->page_size);
    case 5:
      if (auto *arena = any(engine.arenas))
        number(arena->bytes);
      return;
    case 6:
      if (auto *kernel = any(engine.kernels))
        if (auto *attribute = any(kernel->attributes))
          number(attribute->int_value);
      return;
    default:
      if (auto *program = any(engine.programs))
        if (auto *entry = any(program->entries))
          mutateEntry(*entry);
    }
  }

private:
  uint64_t below(uint64_t bound) { return random() % bound; }

  template <typename T>
  T *any(std::vector<std::unique_ptr<T>> &all) {
    return all.empty() ? nullptr : all[below(all.size())].get();
  }
  /// Swaps two elements, or drops one.
  template <typename T>
  void shuffle(std::vector<T> &all) {
    if (all.empty())
      return;
    size_t a = below(all.size());
    if (below(2))
      std::swap(all[a], all[below(all.size())]);
    else
      all.erase(all.begin() + std::ptrdiff_t(a));
  }
  template <typename T>
  void number(T &value) {
    const T edges[] = {T(0),         T(1),
                       T(value + 1), T(value - 1),
                       T(value * 2), std::numeric_limits<T>::max()};
    value = edges[below(std::size(edges))];
  }
  void mutateEntry(schema::EntryT &entry) {
    switch (below(4)) {
    case 0:
      return shuffle(entry.commands);
    case 1:
      return number(entry.tokens);
    default:
      if (auto *slice = any(entry.slices)) {
        if (below(2) && !slice->shape.empty())
          number(slice->shape[below(slice->shape.size())]);
        else
          number(slice->offset);
      }
    }
  }

  std::mt19937 random;
};

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t maxSize, unsigned seed) {
  // The object API stops at unions and vectors that only validation refuses.
  std::vector<uint8_t> file = packEngineFile(Bytes(data, size), Bytes());
  if (seed % 2 == 0 || !Engine::fromBytes(file.data(), file.size(), "e").ok())
    return LLVMFuzzerMutate(data, size, maxSize);
  std::unique_ptr<schema::EngineT> tree(schema::GetEngine(data)->UnPack());
  TreeMutator(seed).mutate(*tree);
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishEngineBuffer(builder,
                             schema::Engine::Pack(builder, tree.get()));
  if (builder.GetSize() > maxSize)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(data, builder.GetBufferPointer(), builder.GetSize());
  return builder.GetSize();
}
