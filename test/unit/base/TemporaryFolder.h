// A folder for one test, removed with everything in it.

#ifndef SADDLE_TEST_UNIT_BASE_TEMPORARYFOLDER_H
#define SADDLE_TEST_UNIT_BASE_TEMPORARYFOLDER_H

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace saddle {

class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "saddle-test-XXXXXX")
            .string();
    if (!::mkdtemp(pattern.data()))
      std::abort();
    root = pattern;
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }

  /// Path of `name` in the folder; "" is the folder itself.
  std::string path(const std::string &name) const {
    return name.empty() ? root : root + "/" + name;
  }
  /// Writes a file and returns its path.
  std::string write(const std::string &name, const std::string &content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  /// Names of all entries, sorted.
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(root))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

private:
  std::string root;
};

} // namespace saddle

#endif // SADDLE_TEST_UNIT_BASE_TEMPORARYFOLDER_H
