// A loaded, fully validated engine file.

#ifndef SADDLE_RUNTIME_ENGINE_ENGINE_H
#define SADDLE_RUNTIME_ENGINE_ENGINE_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <cstddef>
#include <memory>
#include <string>

namespace saddle {

/// Owns the bytes that `root()` points into: a copy, so that what was validated
/// is what runs, whatever happens to the file. Immutable, safe to share between
/// threads.
class Engine {
public:
  /// Reads and validates `path` (docs/EngineFormat.md, "Loading order"). "-"
  /// reads standard input.
  static StatusOr<std::unique_ptr<Engine>> load(const std::string &path);
  /// Validates `size` bytes at `data`, copied; `name` stands in messages for
  /// the path.
  static StatusOr<std::unique_ptr<Engine>>
  fromBytes(const void *data, size_t size, const std::string &name);
  ~Engine();

  const schema::Engine &root() const;
  const std::string &path() const;
  /// The device binary of one of `root().modules()`; as long as the engine.
  Bytes segment(const schema::Module &module) const;
  /// tp * pp.
  uint32_t worldSize() const;

private:
  struct Storage;
  static StatusOr<std::unique_ptr<Engine>>
  fromStorage(std::unique_ptr<Storage> storage);
  explicit Engine(std::unique_ptr<Storage> storage);
  std::unique_ptr<Storage> storage;
};

/// Value of a rank-dependent number on `rank`; 0 when it is absent. Validated
/// engines never overflow here.
uint64_t evaluate(const schema::RankValue *value, uint32_t rank);

} // namespace saddle

#endif // SADDLE_RUNTIME_ENGINE_ENGINE_H
