#include "compiler/Cuda/NormalizePtx.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#include <vector>

using namespace saddle::cuda;
using llvm::StringRef;

static constexpr StringRef kMark = "_INTERNAL_";
static constexpr size_t kDigits = 8;

/// Zeros the marks of `text` and says at which places.
static std::vector<size_t> zeroMarks(std::string &text) {
  std::vector<size_t> places;
  for (size_t at = text.find(kMark.data()); at != std::string::npos;
       at = text.find(kMark.data(), at)) {
    at += kMark.size();
    for (size_t i = at; i < at + kDigits && i < text.size(); ++i)
      if (llvm::isHexDigit(text[i])) {
        text[i] = '0';
        places.push_back(i);
      }
  }
  return places;
}

/// Byte lists of a run of `.b8` lines, zeroed like the text that they spell;
/// a name can go over the end of a line.
static void zeroByteLists(llvm::MutableArrayRef<std::string> lines) {
  std::string spelled;
  struct Number {
    size_t line, begin, end;
  };
  std::vector<Number> numbers;
  for (auto [index, line] : llvm::enumerate(lines)) {
    size_t at = line.find(".b8") + 3;
    while ((at = line.find_first_of("0123456789", at)) != std::string::npos) {
      size_t end = line.find_first_not_of("0123456789", at);
      end = end == std::string::npos ? line.size() : end;
      unsigned value = 0;
      (void)StringRef(line).slice(at, end).getAsInteger(10, value);
      spelled.push_back(static_cast<char>(value));
      numbers.push_back({index, at, end});
      at = end;
    }
  }
  // Backwards, so that places in front stay valid.
  std::vector<size_t> places = zeroMarks(spelled);
  for (size_t place : llvm::reverse(places)) {
    const Number &number = numbers[place];
    lines[number.line].replace(number.begin, number.end - number.begin, "48");
  }
}

std::string saddle::cuda::normalizePtx(StringRef ptx, StringRef folder) {
  llvm::SmallVector<StringRef> split;
  ptx.split(split, '\n');
  std::vector<std::string> lines;
  for (StringRef line : split) {
    std::string text = line.str();
    if (line.ltrim().starts_with(".file"))
      for (size_t at; (at = text.find(folder.data(), 0, folder.size())) !=
                      std::string::npos;)
        text.erase(at, folder.size());
    zeroMarks(text);
    lines.push_back(std::move(text));
  }
  auto isByteList = [](const std::string &line) {
    return StringRef(line).ltrim().starts_with(".b8");
  };
  for (size_t begin = 0; begin < lines.size();) {
    size_t end = begin;
    while (end < lines.size() && isByteList(lines[end]))
      ++end;
    if (end > begin)
      zeroByteLists(llvm::MutableArrayRef(lines).slice(begin, end - begin));
    begin = end + 1;
  }
  return llvm::join(lines, "\n");
}
