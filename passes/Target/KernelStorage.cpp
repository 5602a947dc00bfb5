#include "passes/Target/KernelStorage.h"

#include "dialects/Engine/IR/EngineDialect.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

std::optional<std::string>
saddle::engine::whyNotExecutable(Type element, model::StorageAttr storage) {
  bool isCode = element.isUnsignedInteger();
  if (storage.find(model::CompanionKind::Zero) &&
      (!isCode || storage.getOffset()))
    return "a zero needs unsigned integers without an offset";
  if (storage.getOffset() && !isCode)
    return "an offset needs unsigned integers";
  model::CompanionAttr scale = storage.find(model::CompanionKind::Scale);
  if (scale && scale.getDivides())
    return "only a global scale may divide";
  if (storage.find(model::CompanionKind::GlobalScale) && !scale)
    return "a global scale needs a scale";
  if (storage.getRotated() && !ops::canRotate(storage.getRotated()))
    return "from " + std::to_string(ops::kLeastRotated) + " to " +
           std::to_string(ops::kMostRotated) +
           " columns may be rotated together";
  return std::nullopt;
}

schema::Codes saddle::engine::codesOf(model::StorageAttr storage) {
  if (!storage.getCodes())
    return schema::Codes::ELEMENTS;
  return isa<FloatType>(storage.getCodes()) ? schema::Codes::E2M1
                                            : schema::Codes::UINT;
}

std::vector<ops::Storage> saddle::engine::storagesOf(DictionaryAttr constants) {
  std::vector<ops::Storage> storages;
  auto array = constants.getAs<ArrayAttr>(EngineDialect::kStorageName);
  if (!array)
    return storages;
  for (auto attr : array.getAsRange<model::StorageAttr>()) {
    ops::Storage storage;
    storage.encoding = {codesOf(attr),
                        static_cast<uint32_t>(attr.getValuesPerElement()),
                        static_cast<uint32_t>(attr.getOffset()),
                        static_cast<uint32_t>(attr.getRotated())};
    for (model::CompanionAttr companion : attr.getCompanions())
      storage.companions.push_back(
          {static_cast<schema::CompanionKind>(companion.getKind()),
           static_cast<uint64_t>(companion.getBlockRows()),
           static_cast<uint64_t>(companion.getBlockCols()),
           companion.getDivides()});
    storages.push_back(std::move(storage));
  }
  return storages;
}
