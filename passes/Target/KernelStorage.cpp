#include "passes/Target/KernelStorage.h"

#include "dialects/Engine/IR/EngineDialect.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

std::optional<std::string>
saddle::engine::whyNotExecutable(model::StorageAttr storage) {
  if (storage.getPacking())
    return "several values in a word are not implemented";
  for (model::CompanionAttr companion : storage.getCompanions()) {
    std::string kind = model::stringifyCompanionKind(companion.getKind()).str();
    if (companion.getKind() != model::CompanionKind::Scale)
      return "a " + kind + " is not implemented";
    if (companion.getPacking() || companion.getDivides() ||
        !companion.getType().isF32())
      return "only a scale in f32 that multiplies is implemented";
  }
  return std::nullopt;
}

std::vector<ops::Storage> saddle::engine::storagesOf(DictionaryAttr constants) {
  std::vector<ops::Storage> storages;
  auto array = constants.getAs<ArrayAttr>(EngineDialect::kStorageName);
  if (!array)
    return storages;
  for (auto attr : array.getAsRange<model::StorageAttr>()) {
    ops::Storage storage;
    for (model::CompanionAttr companion : attr.getCompanions())
      storage.companions.push_back(
          {static_cast<schema::CompanionKind>(companion.getKind()),
           static_cast<uint64_t>(companion.getBlockRows()),
           static_cast<uint64_t>(companion.getBlockCols())});
    storages.push_back(std::move(storage));
  }
  return storages;
}
