// The storage of a kernel's weights between the `engine` dialect and the
// definitions of the runtime's ops.

#ifndef SADDLE_PASSES_TARGET_KERNELSTORAGE_H
#define SADDLE_PASSES_TARGET_KERNELSTORAGE_H

#include "dialects/Model/IR/ModelDialect.h"
#include "runtime/ops/Op.h"

namespace saddle::engine {

/// Whether the runtime can multiply by weights of that storage; the reason
/// when it cannot.
std::optional<std::string> whyNotExecutable(model::StorageAttr storage);

/// What the `storage` of a kernel's or a step's constants says; empty without
/// one: every weight is stored as its values.
std::vector<ops::Storage> storagesOf(mlir::DictionaryAttr constants);

} // namespace saddle::engine

#endif // SADDLE_PASSES_TARGET_KERNELSTORAGE_H
