// Warnings of an import as tests quote them.

#ifndef SADDLE_TEST_UNIT_MODELS_WARNINGS_H
#define SADDLE_TEST_UNIT_MODELS_WARNINGS_H

#include "runtime/src/base/Status.h"

#include <gmock/gmock.h>

#include <string>

namespace saddle {

/// The text, and behind it an identifier.
MATCHER_P(IsWarning, text, "is the warning \"" + std::string(text) + "\"") {
  std::string message = arg;
  return takeLabel(message) != 0 && message == text;
}

template <typename... Texts>
auto WarningsAre(const Texts &...texts) {
  return testing::ElementsAre(IsWarning(std::string(texts))...);
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_WARNINGS_H
