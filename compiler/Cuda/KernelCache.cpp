#include "compiler/Cuda/KernelCache.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Hash.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"

#include <pwd.h>
#include <unistd.h>

using namespace saddle;
using namespace saddle::cuda;
using llvm::StringRef;

// Entry: magic, hash of the rest (32 hex digits), key (32 hex digits), length
// of the log (8 bytes, little endian), log, binary.
static constexpr StringRef kMagic = "saddle kernel 1\n";
static constexpr size_t kHashDigits = 32;

/// Lengths keep parts from running into each other.
static void addPart(Hasher128 &hasher, StringRef part) {
  uint8_t length[8];
  llvm::support::endian::write64le(length, part.size());
  hasher.update(length, sizeof length);
  hasher.update(part.data(), part.size());
}

static std::string withoutComments(StringRef source) {
  std::string text;
  llvm::SmallVector<StringRef> lines;
  source.split(lines, '\n');
  for (StringRef line : lines)
    text += (line.ltrim().starts_with("//") ? "" : line.str()) + "\n";
  return text;
}

std::string saddle::cuda::cacheKey(
    StringRef name, StringRef source, StringRef version,
    llvm::ArrayRef<std::string> flags,
    llvm::function_ref<std::optional<StringRef>(StringRef)> header) {
  Hasher128 hasher;
  addPart(hasher, kMagic);
  addPart(hasher, name);
  addPart(hasher, version);
  for (const std::string &flag : flags)
    addPart(hasher, flag);
  std::string text = withoutComments(source);
  addPart(hasher, text);
  // Depth first, each header once, in the order of the includes.
  llvm::StringSet<> seen;
  llvm::SmallVector<StringRef> open = {text};
  while (!open.empty()) {
    StringRef rest = open.pop_back_val();
    while (!rest.empty()) {
      auto [line, after] = rest.split('\n');
      rest = after;
      line = line.trim();
      if (!line.consume_front("#include \""))
        continue;
      StringRef path = line.split('"').first;
      std::optional<StringRef> included = header(path);
      if (!included || !seen.insert(path).second)
        continue;
      addPart(hasher, path);
      addPart(hasher, *included);
      open.push_back(rest);
      rest = *included;
    }
  }
  return hasher.hex();
}

std::string KernelCache::defaultFolder() {
  passwd entry;
  passwd *found = nullptr;
  char buffer[4096];
  if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) != 0 ||
      !found || !found->pw_dir || !*found->pw_dir)
    return "";
  return std::string(found->pw_dir) + "/.cache/saddle/kernels";
}

std::string KernelCache::path(StringRef key) const {
  return folder + "/" + key.str() + ".kernel";
}

Status KernelCache::open() const {
  if (folder.empty())
    return Status();
  std::error_code error = llvm::sys::fs::create_directories(
      folder, /*IgnoreExisting=*/true, llvm::sys::fs::owner_all);
  // A file of that name counts as existing.
  if (!error && !llvm::sys::fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (!error)
    return Status();
  return makeError(StatusCode::InvalidArgument,
                   "kernel cache %s: cannot create folder: %s", folder.c_str(),
                   error.message().c_str());
}

std::optional<CachedBinary> KernelCache::load(StringRef key) const {
  if (folder.empty())
    return std::nullopt;
  // Code of others is not run for a file that somebody else, or a link, put
  // here.
  auto file = InputFile::open(path(key), Links::Replace);
  if (!file.ok() || !file->isOwn())
    return std::nullopt;
  std::optional<OwnedBytes> content = OwnedBytes::allocate(file->size());
  if (!content || !file->read(0, content->data(), content->size()).ok())
    return std::nullopt;
  StringRef bytes(reinterpret_cast<const char *>(content->data()),
                  content->size());
  if (!bytes.consume_front(kMagic) || bytes.size() < kHashDigits)
    return std::nullopt;
  StringRef recorded = bytes.take_front(kHashDigits);
  bytes = bytes.drop_front(kHashDigits);
  Hasher128 hasher;
  hasher.update(bytes.data(), bytes.size());
  if (hasher.hex() != recorded || !bytes.consume_front(key) || bytes.size() < 8)
    return std::nullopt;
  uint64_t logBytes = llvm::support::endian::read64le(bytes.data());
  bytes = bytes.drop_front(8);
  if (logBytes > bytes.size())
    return std::nullopt;
  CachedBinary binary;
  binary.log = bytes.take_front(logBytes).str();
  bytes = bytes.drop_front(logBytes);
  binary.cubin.assign(bytes.bytes_begin(), bytes.bytes_end());
  return binary;
}

Status KernelCache::store(StringRef key, const CachedBinary &binary) const {
  if (folder.empty())
    return Status();
  std::string rest = key.str();
  char length[8];
  llvm::support::endian::write64le(length, binary.log.size());
  rest.append(length, sizeof length);
  rest += binary.log;
  rest.append(reinterpret_cast<const char *>(binary.cubin.data()),
              binary.cubin.size());
  Hasher128 hasher;
  hasher.update(rest.data(), rest.size());
  std::string file = kMagic.str() + hasher.hex() + rest;
  return writeFileAtomically(
      path(key),
      Bytes(reinterpret_cast<const uint8_t *>(file.data()), file.size()),
      Links::Replace);
}
