#include "runtime/src/engine/Engine.h"

#include "runtime/src/base/File.h"
#include "runtime/src/engine/EngineFile.h"
#include "runtime/src/engine/Validate.h"

#include <cstring>
#include <optional>

namespace saddle {

namespace {

// Tables nest five deep in the schema. The full models need about 10^5 tables.
constexpr flatbuffers::uoffset_t kMaxDepth = 16;
constexpr flatbuffers::uoffset_t kMaxTables = 8000000;

} // namespace

struct Engine::Storage {
  std::string path;
  OwnedBytes bytes;
  const schema::Engine *root = nullptr;
  Bytes segments;
};

StatusOr<std::unique_ptr<Engine>> Engine::load(const std::string &path) {
  auto storage = std::make_unique<Storage>();
  storage->path = path == "-" ? "standard input" : path;
  SADDLE_ASSIGN_OR_RETURN(storage->bytes,
                          path == "-" ? readStandardInput() : readFile(path));
  return fromStorage(std::move(storage));
}

StatusOr<std::unique_ptr<Engine>>
Engine::fromBytes(const void *data, size_t size, const std::string &name) {
  auto storage = std::make_unique<Storage>();
  storage->path = name;
  std::optional<OwnedBytes> copy = OwnedBytes::allocate(size);
  if (!copy)
    return makeError(StatusCode::ResourceExhausted,
                     "%s: no memory for a copy of %zu bytes", name.c_str(),
                     size);
  if (size)
    std::memcpy(copy->data(), data, size);
  storage->bytes = std::move(*copy);
  return fromStorage(std::move(storage));
}

StatusOr<std::unique_ptr<Engine>>
Engine::fromStorage(std::unique_ptr<Storage> storage) {
  SADDLE_ASSIGN_OR_RETURN(
      EngineFileParts parts,
      unpackEngineFile(storage->bytes.bytes(), storage->path));
  flatbuffers::Verifier verifier(
      parts.flatbuffer.data(), parts.flatbuffer.size(), kMaxDepth, kMaxTables);
  if (!schema::VerifyEngineBuffer(verifier))
    return makeError(StatusCode::DataLoss,
                     "%s: the %zu bytes of metadata are not a well-formed "
                     "\"%s\" FlatBuffer",
                     storage->path.c_str(), parts.flatbuffer.size(),
                     schema::EngineIdentifier());
  storage->root = schema::GetEngine(parts.flatbuffer.data());
  storage->segments = parts.segments;
  SADDLE_RETURN_IF_ERROR(engine::prefix(
      storage->path, engine::validate(*storage->root, parts.segments)));
  return std::unique_ptr<Engine>(new Engine(std::move(storage)));
}

Engine::Engine(std::unique_ptr<Storage> storage)
    : storage(std::move(storage)) {}

Engine::~Engine() = default;

const schema::Engine &Engine::root() const { return *storage->root; }

const std::string &Engine::path() const { return storage->path; }

Bytes Engine::segment(const schema::Module &module) const {
  return Bytes(storage->segments.data() + module.offset(), module.bytes());
}

uint32_t Engine::worldSize() const {
  return root().topology()->tp() * root().topology()->pp();
}

uint64_t evaluate(const schema::RankValue *value, uint32_t rank) {
  if (!value)
    return 0;
  return value->base() +
         (rank / value->divisor()) % value->modulus() * value->step();
}

} // namespace saddle
