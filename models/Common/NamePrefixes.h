// What names begin with when a text model is a part of another.

#ifndef SADDLE_MODELS_COMMON_NAMEPREFIXES_H
#define SADDLE_MODELS_COMMON_NAMEPREFIXES_H

#include "runtime/src/base/Span.h"

namespace saddle {

struct NamePrefix {
  const char *stored, *name;
};

/// In the order in which they are looked for.
inline Span<const NamePrefix> namePrefixes() {
  static constexpr NamePrefix all[] = {
      {"model.language_model.", "model."},
      {"language_model.model.", "model."},
      {"language_model.lm_head", "lm_head"},
  };
  return {all, sizeof all / sizeof *all};
}

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_NAMEPREFIXES_H
