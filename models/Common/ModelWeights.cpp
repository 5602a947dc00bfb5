#include "models/Common/ModelWeights.h"

#include "runtime/src/checkpoint/Fingerprint.h"

#include <algorithm>
#include <cinttypes>

namespace saddle {

static uint64_t product(const std::vector<uint64_t> &shape) {
  uint64_t elements = 1;
  for (uint64_t dim : shape)
    elements *= dim; // importers bound every product of their sizes
  return elements;
}

/// Calls visit(name, dtype, shape) for the weight and its companions; names of
/// a stack have their "{}".
template <typename Visitor>
static void forEachTensor(const WeightSpec &spec, Visitor visit) {
  visit(spec.name, spec.dtype, spec.shape);
  for (const Companion &companion : spec.companions)
    visit(companion.name, companion.dtype, companion.shape);
}

const ModelWeight *ModelWeights::find(const std::string &symbol) const {
  for (const ModelWeight &weight : used)
    if (weight.symbol == symbol)
      return &weight;
  return nullptr;
}

void ModelWeights::keepLayers(int64_t layers) {
  std::vector<ModelWeight> kept;
  for (ModelWeight &weight : used) {
    if (weight.layer < layers)
      kept.push_back(std::move(weight));
    else
      ignored.push_back({std::move(weight.spec), "layer is not compiled"});
  }
  used = std::move(kept);
}

void ModelWeights::adopt(ModelWeight weight) {
  auto last =
      std::find_if(used.rbegin(), used.rend(), [&](const ModelWeight &other) {
        return other.layer == weight.layer;
      });
  used.insert(last.base(), std::move(weight));
}

std::string ModelWeights::fingerprint() const {
  struct Entry {
    std::string name;
    TensorDType dtype;
    const std::vector<uint64_t> *shape;
  };
  std::vector<Entry> entries;
  for (const ModelWeight &weight : used)
    forEachTensor(weight.spec, [&](const std::string &name, TensorDType dtype,
                                   const std::vector<uint64_t> &shape) {
      for (uint64_t i = 0; i < weight.spec.members(); ++i)
        entries.push_back({memberName(name, i), dtype, &shape});
    });
  std::sort(entries.begin(), entries.end(),
            [](const Entry &a, const Entry &b) { return a.name < b.name; });
  Fingerprint fingerprint;
  for (const Entry &entry : entries)
    fingerprint.add(entry.name, entry.dtype, *entry.shape);
  return fingerprint.hex();
}

uint64_t ModelWeights::tensorCount() const {
  uint64_t tensors = 0;
  for (const ModelWeight &weight : used)
    tensors += weight.spec.members() * (1 + weight.spec.companions.size());
  return tensors;
}

uint64_t ModelWeights::elementCount() const {
  uint64_t elements = 0;
  for (const ModelWeight &weight : used)
    forEachTensor(weight.spec, [&](const std::string &, TensorDType,
                                   const std::vector<uint64_t> &shape) {
      elements += weight.spec.members() * product(shape);
    });
  return elements;
}

std::vector<std::string> describeStorage(const ModelWeights &weights) {
  struct Kind {
    std::string name, storage;
    uint64_t bytes = 0;
    std::vector<int64_t> layers;
  };
  std::vector<Kind> kinds;
  for (const ModelWeight &weight : weights.used) {
    std::string name = weight.symbol, storage, space = " ";
    if (weight.layer >= 0)
      name = name.substr(name.find('.', name.find('.') + 1) + 1);
    uint64_t bytes = 0;
    forEachTensor(weight.spec, [&](const std::string &tensor, TensorDType dtype,
                                   const std::vector<uint64_t> &shape) {
      storage += (storage.empty() ? "" : ", ") +
                 tensor.substr(tensor.rfind('.') + 1) + space +
                 dtypeName(dtype) + " " + formatShape(shape);
      bytes += weight.spec.members() * elementBytes(dtype) * product(shape);
    });
    auto known =
        std::find_if(kinds.begin(), kinds.end(), [&](const Kind &kind) {
          return kind.name == name && kind.storage == storage;
        });
    if (known == kinds.end())
      known = kinds.insert(known, {name, storage, 0, {}});
    known->bytes += bytes;
    if (weight.layer >= 0)
      known->layers.push_back(weight.layer);
  }
  std::vector<std::string> lines;
  for (const Kind &kind : kinds)
    lines.push_back(kind.name + ": " + kind.storage + ", " +
                    std::to_string(kind.bytes) + " bytes" +
                    (kind.layers.empty()
                         ? ""
                         : ", in " + std::to_string(kind.layers.size()) +
                               " layers from " +
                               std::to_string(kind.layers.front()) + " to " +
                               std::to_string(kind.layers.back())));
  return lines;
}

WeightSpec &WeightLister::add(const std::string &symbol,
                              const std::string &tensor,
                              const std::vector<Dimension> &dims) {
  ModelWeight weight;
  weight.layer = layer;
  if (layer >= 0)
    weight.symbol = "layers." + std::to_string(layer) + ".";
  weight.symbol += symbol;
  weight.dims = dims;
  weight.spec.name = tensor;
  weight.spec.dtype = dtype;
  for (const Dimension &dim : dims)
    weight.spec.shape.push_back(dim.extent);
  if (tensor.find("{}") != std::string::npos)
    weight.spec.stack = weight.spec.shape.front();
  if (weight.spec.stack != 0 || dims.size() > 2)
    weight.spec.shape.erase(weight.spec.shape.begin());
  weights.used.push_back(std::move(weight));
  return weights.used.back().spec;
}

void WeightLister::addCacheScales(const std::string &cache,
                                  const std::string &attention) {
  ++weights.cacheLayers;
  for (auto [suffix, tensor] : {std::pair(kKeyScale, "k_proj.k_scale"),
                                std::pair(kValueScale, "v_proj.v_scale")}) {
    add(cache + suffix, attention + tensor, {{"scale", 1}}).dtype =
        TensorDType::F32;
    weights.optional.push_back(std::move(weights.used.back()));
    weights.used.pop_back();
  }
}

/// What is rotated or packed together must be there: tools pack whole words of
/// a matrix, but for compressed-tensors, which fills the last word of a row.
static Status checkExtents(const StorageFormat &format,
                           const std::string &configPath,
                           const std::string &module, uint64_t rows,
                           uint64_t columns) {
  auto check = [&](const char *what, uint64_t extent, uint64_t together,
                   const char *why) -> Status {
    if (together == 0 || extent % together == 0)
      return Status();
    return makeError(StatusCode::Unsupported,
                     "%s: quantization_config: \"%s\" has %" PRIu64
                     " %s, expected a multiple of %" PRIu64 ", which %s %s",
                     configPath.c_str(), module.c_str(), extent, what, together,
                     format.name, why);
  };
  auto checkWords = [&](const TensorLayout &layout, TensorDType dtype) {
    if (dtype == TensorDType::I32 && !layout.transposed)
      return Status();
    bool alongColumns = layout.alongRows == layout.transposed;
    return check(alongColumns ? "columns" : "rows",
                 alongColumns ? columns : rows, layout.order.size(),
                 "packs to a word");
  };
  SADDLE_RETURN_IF_ERROR(
      check("columns", columns, uint64_t(format.rotated), "rotates together"));
  SADDLE_RETURN_IF_ERROR(checkWords(format.layout, format.dtype));
  for (const CompanionFormat &companion : format.companions)
    if (companion.role == CompanionRole::Zero)
      SADDLE_RETURN_IF_ERROR(checkWords(companion.layout, companion.dtype));
  return Status();
}

WeightSpec &WeightLister::addProjection(const std::string &symbol,
                                        const std::string &module,
                                        const std::vector<Dimension> &dims) {
  WeightSpec &spec = add(symbol, module + ".weight", dims);
  StatusOr<const StorageFormat *> format =
      quantisation.formatOf(module, configPath, spec.members());
  if (!format.ok() && error.ok())
    error = format.status();
  else if (format.ok() && *format) {
    uint64_t rows = spec.shape.front(), columns = spec.shape.back();
    if (error.ok())
      error = checkExtents(**format, configPath, module, rows, columns);
    store(**format, spec);
    for (const RedundantTensor &each : (*format)->redundant) {
      IgnoredWeight ignored{{}, each.reason};
      ignored.spec.name = module + "." + each.tensor;
      ignored.spec.stack = spec.stack;
      ignored.spec.dtype = each.dtype;
      ignored.anyFloat = each.anyFloat;
      ignored.zero = each.zero;
      switch (each.shape) {
      case RedundantTensor::Single:
        break;
      case RedundantTensor::Pair:
        ignored.spec.shape = {2};
        break;
      case RedundantTensor::Rows:
        ignored.spec.shape = {rows, 1};
        break;
      case RedundantTensor::Groups:
        ignored.spec.shape = {columns};
        ignored.group = (*format)->companions.front().blockColumns;
        if (ignored.group == 0)
          ignored.group = columns;
        break;
      }
      weights.ignored.push_back(std::move(ignored));
    }
  }
  return spec;
}

StatusOr<ModelWeights> WeightLister::take() {
  SADDLE_RETURN_IF_ERROR(error);
  return std::move(weights);
}

} // namespace saddle
