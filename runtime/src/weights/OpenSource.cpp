// From what a user says to a source of weights: which checkpoint is where.

#include "runtime/src/engine/Programs.h"
#include "runtime/src/weights/PackedFolder.h"
#include "runtime/src/weights/RecipeSource.h"

#include <cerrno>
#include <cstdlib>

namespace saddle {

namespace weights {

namespace {

const std::string kSynthetic = "synthetic:";

bool isSynthetic(const std::string &spec) {
  return spec.compare(0, kSynthetic.size(), kSynthetic) == 0;
}

StatusOr<std::unique_ptr<RecipeSource>>
openCheckpoint(const schema::Engine &engine, uint32_t checkpoint,
               const std::string &spec) {
  if (!isSynthetic(spec))
    return openFolder(engine, checkpoint, spec);
  const std::string digits = spec.substr(kSynthetic.size());
  bool isNumber = !digits.empty() &&
                  digits.find_first_not_of("0123456789") == std::string::npos;
  errno = 0;
  uint64_t seed = std::strtoull(digits.c_str(), nullptr, 10);
  if (!isNumber || errno == ERANGE)
    return makeError(StatusCode::InvalidArgument,
                     "weights \"%s\": \"%s\" is no seed, expected a whole "
                     "number from 0 to 2^64-1, as in synthetic:7",
                     spec.c_str(), digits.c_str());
  return makeSynthetic(engine, seed);
}

/// Each checkpoint from a source of its own.
class CheckpointSources : public RecipeSource {
public:
  CheckpointSources(const schema::Engine &engine,
                    std::vector<std::unique_ptr<RecipeSource>> parts)
      : RecipeSource(engine), parts(std::move(parts)) {}

  void readCells(const CellRange &range, uint8_t *out) const override {
    parts[engine.sources()->Get(range.source)->checkpoint()]->readCells(range,
                                                                        out);
  }

  schema::DType storedDType(uint32_t source) const override {
    return parts[engine.sources()->Get(source)->checkpoint()]->storedDType(
        source);
  }
  Status readError() const override {
    for (const auto &part : parts)
      SADDLE_RETURN_IF_ERROR(part->readError());
    return Status();
  }

private:
  std::vector<std::unique_ptr<RecipeSource>> parts; // as engine.checkpoints
};

/// Where each checkpoint of the engine is, in its order.
StatusOr<std::vector<std::string>>
placesOf(const schema::Engine &engine, const std::string &spec,
         const std::vector<CheckpointPlace> &others) {
  const auto &checkpoints = *engine.checkpoints();
  std::vector<std::string> places(checkpoints.size());
  places[0] = spec;
  std::string names;
  for (const schema::Checkpoint *checkpoint : checkpoints)
    names += (names.empty() ? "" : ", ") + checkpoint->name()->str();
  for (const CheckpointPlace &other : others) {
    uint32_t i = 0;
    while (i < checkpoints.size() &&
           checkpoints.Get(i)->name()->str() != other.checkpoint)
      ++i;
    if (i == checkpoints.size())
      return makeError(StatusCode::InvalidArgument,
                       "weights \"%s\" are for checkpoint \"%s\", but the "
                       "engine reads %s",
                       other.spec.c_str(), other.checkpoint.c_str(),
                       names.c_str());
    if (!places[i].empty())
      return makeError(StatusCode::InvalidArgument,
                       "checkpoint \"%s\" has two sets of weights, \"%s\" and "
                       "\"%s\"",
                       other.checkpoint.c_str(), places[i].c_str(),
                       other.spec.c_str());
    places[i] = other.spec;
  }
  for (uint32_t i = 0; i < checkpoints.size(); ++i) {
    if (places[i].empty() && isSynthetic(spec))
      places[i] = spec;
    if (places[i].empty())
      return makeError(StatusCode::InvalidArgument,
                       "the engine reads checkpoint \"%s\", too; say where its "
                       "weights are",
                       checkpoints.Get(i)->name()->c_str());
  }
  return places;
}

} // namespace

} // namespace weights

StatusOr<std::unique_ptr<WeightSource>>
WeightSource::open(const schema::Engine &engine, const std::string &spec,
                   const std::vector<CheckpointPlace> &others) {
  if (!weights::isSynthetic(spec) && weights::isPackedFolder(spec)) {
    if (!others.empty())
      return makeError(
          StatusCode::InvalidArgument,
          "weights \"%s\" are packed, and hold all that the engine "
          "reads, but \"%s\" is given for checkpoint \"%s\", too",
          spec.c_str(), others[0].spec.c_str(), others[0].checkpoint.c_str());
    return weights::openPacked(engine, spec);
  }
  SADDLE_ASSIGN_OR_RETURN(std::vector<std::string> places,
                          weights::placesOf(engine, spec, others));
  bool isOne = weights::isSynthetic(places[0]);
  for (const std::string &place : places)
    isOne &= place == places[0];
  std::vector<std::unique_ptr<weights::RecipeSource>> parts;
  for (uint32_t i = 0; i < (isOne ? 1 : places.size()); ++i) {
    SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<weights::RecipeSource> part,
                            weights::openCheckpoint(engine, i, places[i]));
    parts.push_back(std::move(part));
  }
  // The whole source of a seed can be made on a device.
  if (parts.size() == 1)
    return std::unique_ptr<WeightSource>(std::move(parts[0]));
  return std::unique_ptr<WeightSource>(
      new weights::CheckpointSources(engine, std::move(parts)));
}

} // namespace saddle
