#include "runtime/src/checkpoint/Parts.h"

#include <cinttypes>
#include <set>

namespace saddle {

namespace {

std::string member(const std::string &name, uint64_t index) {
  size_t hole = name.find("{}");
  return hole == std::string::npos
             ? name
             : name.substr(0, hole) + std::to_string(index) +
                   name.substr(hole + 2);
}

bool isPrefix(const std::string &name) {
  return !name.empty() && name.back() == '*';
}

class Cutter {
public:
  explicit Cutter(Checkpoint &checkpoint) : checkpoint(checkpoint) {}

  Status apply(const StoredPart &part) {
    if (isPrefix(part.tensor))
      return rename(part);
    bool oneTensor = part.tensor.find("{}") == std::string::npos;
    for (uint64_t m = 0; m < std::max<uint64_t>(1, part.stack); ++m) {
      const std::string tensor = member(part.tensor, m);
      auto found = checkpoint.tensors.find(tensor);
      if (found == checkpoint.tensors.end())
        continue;
      TensorInfo info = found->second;
      if (part.stack && oneTensor)
        SADDLE_RETURN_IF_ERROR(selectMember(part, tensor, m, info));
      if (part.of)
        SADDLE_RETURN_IF_ERROR(select(part, tensor, info));
      info.partOf = tensor;
      SADDLE_RETURN_IF_ERROR(add(member(part.name, m), info));
      used.insert(tensor);
    }
    return Status();
  }

  void finish() {
    for (const std::string &tensor : used)
      checkpoint.tensors.erase(tensor);
    checkpoint.tensors.merge(made);
  }

private:
  Status rename(const StoredPart &part) {
    const std::string from = part.tensor.substr(0, part.tensor.size() - 1);
    const std::string to = part.name.substr(0, part.name.size() - 1);
    auto at = checkpoint.tensors.lower_bound(from);
    for (; at != checkpoint.tensors.end() &&
           at->first.compare(0, from.size(), from) == 0;
         ++at) {
      TensorInfo info = at->second;
      info.partOf = at->first;
      SADDLE_RETURN_IF_ERROR(add(to + at->first.substr(from.size()), info));
      used.insert(at->first);
    }
    // What follows is said of the new names.
    finish();
    used.clear();
    made.clear();
    return Status();
  }

  Status add(const std::string &name, const TensorInfo &info) {
    if (checkpoint.tensors.count(name) || !made.emplace(name, info).second)
      return makeError(StatusCode::Mismatch,
                       "%s: tensors \"%s\" and \"%s\" both hold one weight; "
                       "delete the one that is stale",
                       checkpoint.directory.c_str(), name.c_str(),
                       info.partOf.c_str());
    return Status();
  }

  Status mismatch(const std::string &tensor, const TensorInfo &info,
                  const std::string &expected) {
    return makeError(StatusCode::Mismatch,
                     "%s: tensor \"%s\" has shape %s, expected %s",
                     checkpoint.directory.c_str(), tensor.c_str(),
                     formatShape(info.shape).c_str(), expected.c_str());
  }

  Status selectMember(const StoredPart &part, const std::string &tensor,
                      uint64_t index, TensorInfo &info) {
    if (info.shape.empty() || info.shape[0] != part.stack)
      return mismatch(tensor, info,
                      std::to_string(part.stack) +
                          " members along dimension 0");
    info.shape.erase(info.shape.begin());
    info.bytes /= part.stack;
    info.offset += index * info.bytes;
    return Status();
  }

  Status select(const StoredPart &part, const std::string &tensor,
                TensorInfo &info) {
    size_t dim = part.columns ? 1 : 0;
    if (info.shape.size() <= dim || info.shape[dim] != part.of)
      return mismatch(tensor, checkpoint.tensors.find(tensor)->second,
                      std::to_string(part.of) + " " +
                          (part.columns ? "columns" : "rows") +
                          (part.stack ? " of each member" : "") +
                          ", of which \"" + part.name + "\" is a part");
    if (!part.columns) {
      uint64_t row = info.bytes / part.of;
      info.offset += part.first * row;
      info.bytes = part.count * row;
      info.shape[0] = part.count;
      return Status();
    }
    uint64_t unit = elementBytes(info.dtype), rows = info.shape[0];
    if (unit == 0 || rows == 0)
      return mismatch(tensor, info, "elements of whole bytes");
    info.pitch = part.of * unit;
    info.offset += part.first * unit;
    info.bytes = (rows - 1) * info.pitch + part.count * unit;
    info.shape[1] = part.count;
    return Status();
  }

  Checkpoint &checkpoint;
  std::map<std::string, TensorInfo> made;
  std::set<std::string> used;
};

} // namespace

Status applyParts(const std::vector<StoredPart> &parts,
                  Checkpoint &checkpoint) {
  Cutter cutter(checkpoint);
  for (const StoredPart &part : parts)
    SADDLE_RETURN_IF_ERROR(cutter.apply(part));
  cutter.finish();
  return Status();
}

} // namespace saddle
