// Folders: one shard, or many with an index that must agree with them in both
// directions.

#include "runtime/src/checkpoint/Checkpoint.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"

#include <dirent.h>
#include <memory>

namespace saddle {

namespace {

/// Reads {"weight_map": {tensor: file}}; other members are skipped.
class IndexReader : public JsonHandler {
public:
  explicit IndexReader(const std::string &path) : path(path) {}

  std::map<std::string, std::string> fileOf;
  bool hasMap = false;

  Status beginObject() override {
    ++depth;
    if (depth == 2 && expectMap)
      inMap = true;
    else if (inMap)
      return notAName();
    return Status();
  }

  Status endObject() override {
    if (depth == 2)
      inMap = false;
    --depth;
    return Status();
  }

  Status beginArray() override {
    if (inMap || expectsMapNow())
      return notAName();
    ++depth;
    return depth == 1 ? notAnObject() : Status();
  }

  Status endArray() override {
    --depth;
    return Status();
  }

  Status key(std::string &key) override {
    if (depth == 1) {
      expectMap = key == "weight_map";
      if (expectMap && std::exchange(hasMap, true))
        return makeError(StatusCode::DataLoss,
                         "%s: \"weight_map\" appears twice", path.c_str());
    }
    if (inMap)
      name = std::move(key);
    return Status();
  }

  Status scalar(JsonScalar &value) override {
    if (depth == 0)
      return notAnObject();
    if (expectsMapNow())
      return notAName();
    if (!inMap)
      return Status();
    if (value.kind != JsonScalar::Kind::String)
      return notAName();
    const std::string &file = value.text;
    if (file.empty() || file == "." || file == ".." ||
        file.find_first_of(std::string("/\\\0", 3)) != std::string::npos)
      return makeError(StatusCode::DataLoss,
                       "%s: tensor \"%s\": \"%s\" is not the name of a file "
                       "in the same folder",
                       path.c_str(), name.c_str(), file.c_str());
    if (!fileOf.emplace(name, file).second)
      return makeError(StatusCode::DataLoss,
                       "%s: tensor \"%s\" appears twice in weight_map",
                       path.c_str(), name.c_str());
    return Status();
  }

private:
  bool expectsMapNow() const { return depth == 1 && expectMap; }
  Status notAnObject() {
    return makeError(StatusCode::DataLoss, "%s: expected a JSON object",
                     path.c_str());
  }
  Status notAName() {
    return makeError(StatusCode::DataLoss,
                     "%s: weight_map must be an object that maps tensor names "
                     "to file names",
                     path.c_str());
  }

  const std::string &path;
  unsigned depth = 0;
  bool expectMap = false;
  bool inMap = false;
  std::string name;
};

/// Some file of a folder that ends in .safetensors; "" when there is none.
std::string anyShardIn(const std::string &directory) {
  std::string found;
  std::unique_ptr<DIR, int (*)(DIR *)> folder(::opendir(directory.c_str()),
                                              ::closedir);
  if (!folder)
    return found;
  const std::string ending = ".safetensors";
  while (const dirent *entry = ::readdir(folder.get())) {
    std::string name = entry->d_name;
    if (name.size() > ending.size() &&
        name.compare(name.size() - ending.size(), ending.size(), ending) == 0 &&
        (found.empty() || name < found))
      found = name;
  }
  return found;
}

/// Nothing in the folder is what a checkpoint begins with.
Status noCheckpoint(const std::string &directory) {
  std::string hint;
  if (std::string shard = anyShardIn(directory); !shard.empty())
    hint = ", but \"" + shard +
           "\"; download the index, which says which tensors there are";
  else
    hint = describeHubFolder(directory);
  return makeError(StatusCode::NotFound,
                   "%s: holds neither model.safetensors.index.json nor "
                   "model.safetensors%s",
                   directory.c_str(), hint.c_str());
}

std::string baseName(const std::string &path) {
  return path.substr(path.rfind('/') + 1);
}

/// Reads shard `path` as the next file of `checkpoint`.
Status addShard(Checkpoint &checkpoint, const std::string &path) {
  std::map<std::string, TensorInfo> tensors;
  SADDLE_RETURN_IF_ERROR(
      readSafetensorsHeader(path, uint32_t(checkpoint.files.size()), tensors));
  checkpoint.files.push_back(path);
  checkpoint.tensors.merge(tensors);
  if (tensors.empty())
    return Status();
  const std::string &name = tensors.begin()->first;
  uint32_t other = checkpoint.tensors.find(name)->second.file;
  return makeError(StatusCode::DataLoss,
                   "%s: tensor \"%s\" is also in \"%s\"; every tensor must be "
                   "in one file only",
                   path.c_str(), name.c_str(),
                   baseName(checkpoint.files[other]).c_str());
}

/// Both iterate in name order, so one walk finds what either side lacks.
Status compareWithIndex(const Checkpoint &checkpoint,
                        const std::string &indexPath,
                        const std::map<std::string, std::string> &fileOf) {
  auto tensor = checkpoint.tensors.begin(), end = checkpoint.tensors.end();
  for (const auto &[name, file] : fileOf) {
    if (tensor != end && tensor->first < name)
      break; // in a shard, not listed
    bool present = tensor != end && tensor->first == name;
    std::string found;
    if (present)
      found = baseName(checkpoint.files[tensor->second.file]);
    if (found == file) {
      ++tensor;
      continue;
    }
    std::string where =
        present ? "it is in \"" + found + "\"" : "that file does not hold it";
    return makeError(
        StatusCode::DataLoss, "%s: tensor \"%s\" is listed in \"%s\", but %s",
        indexPath.c_str(), name.c_str(), file.c_str(), where.c_str());
  }
  if (tensor == end)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: tensor \"%s\" is not listed in %s",
                   checkpoint.files[tensor->second.file].c_str(),
                   tensor->first.c_str(), baseName(indexPath).c_str());
}

Status openIndexed(Checkpoint &checkpoint, const std::string &indexPath) {
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes text, readFile(indexPath, kMaxJsonBytes));
  IndexReader index(indexPath);
  SADDLE_RETURN_IF_ERROR(parseJson(indexPath, text.bytes(), index));
  if (!index.hasMap)
    return makeError(StatusCode::DataLoss, "%s: has no \"weight_map\"",
                     indexPath.c_str());
  // Shard -> a tensor it should hold, for the message when it is absent.
  std::map<std::string, std::string> shards;
  for (const auto &[tensor, file] : index.fileOf)
    shards.emplace(file, tensor);
  for (const auto &[file, tensor] : shards) {
    std::string path = checkpoint.directory + "/" + file;
    SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
    if (!isThere)
      return makeError(StatusCode::NotFound,
                       "%s: tensor \"%s\" is listed in \"%s\", but there is no "
                       "such file in the folder",
                       indexPath.c_str(), tensor.c_str(), file.c_str());
    SADDLE_RETURN_IF_ERROR(addShard(checkpoint, path));
  }
  return compareWithIndex(checkpoint, indexPath, index.fileOf);
}

} // namespace

std::string describeHubFolder(const std::string &directory) {
  StatusOr<bool> isHub = exists(directory + "/snapshots");
  return isHub.ok() && *isHub ? "; this is a folder of a hub's cache: give a "
                                "folder of its snapshots/"
                              : "";
}

StatusOr<Checkpoint> Checkpoint::open(const std::string &directory) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  SADDLE_RETURN_IF_ERROR(
      requireFolder(directory, "a checkpoint folder with safetensors files"));
  std::string index = directory + "/model.safetensors.index.json";
  std::string single = directory + "/model.safetensors";
  SADDLE_ASSIGN_OR_RETURN(bool hasIndex, exists(index));
  SADDLE_ASSIGN_OR_RETURN(bool hasSingle, exists(single));
  if (hasIndex)
    SADDLE_RETURN_IF_ERROR(openIndexed(checkpoint, index));
  else if (hasSingle)
    SADDLE_RETURN_IF_ERROR(addShard(checkpoint, single));
  else
    return noCheckpoint(directory);
  return checkpoint;
}

} // namespace saddle
