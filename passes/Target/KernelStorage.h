// The storage of a kernel's weights between the `engine` dialect and the
// definitions of the runtime's ops.

#ifndef SADDLE_PASSES_TARGET_KERNELSTORAGE_H
#define SADDLE_PASSES_TARGET_KERNELSTORAGE_H

#include "dialects/Model/IR/ModelDialect.h"
#include "runtime/ops/Op.h"

namespace saddle::engine {

/// Whether the runtime's ops can multiply by weights of that element type and
/// storage; the reason when they cannot.
std::optional<std::string> whyNotExecutable(mlir::Type element,
                                            model::StorageAttr storage);

/// What the elements of a weight hold, as a kernel's storage says it.
schema::Codes codesOf(model::StorageAttr storage);

/// What the `storage` of a kernel's or a step's constants says; empty without
/// one: every weight is stored as its values.
std::vector<ops::Storage> storagesOf(mlir::DictionaryAttr constants);

} // namespace saddle::engine

#endif // SADDLE_PASSES_TARGET_KERNELSTORAGE_H
