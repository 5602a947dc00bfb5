// Tensors that a folder has under other names, or as parts of larger tensors,
// under the names that a model reads. Data: who reads a checkpoint first finds
// out which there are, and an engine carries them to those who load it.

#ifndef SADDLE_RUNTIME_CHECKPOINT_PARTS_H
#define SADDLE_RUNTIME_CHECKPOINT_PARTS_H

#include "runtime/src/checkpoint/Checkpoint.h"

namespace saddle {

/// One name, or the names of a stack, and where the folder has it. `name` and
/// `tensor` may both end in '*', which stands for any text: names that begin
/// with `tensor` then begin with `name` instead.
struct StoredPart {
  std::string name;   // "layers.0.experts.{}.w1.weight"
  std::string tensor; // "layers.0.experts.gate_up_proj"
  /// Members that "{}" of `name` stands for; 0: it has none. `tensor` then has
  /// a "{}" too, or holds all members behind each other along dimension 0.
  uint64_t stack = 0;
  /// Rows (columns, if `columns`) [first, first + count) of the `of` that a
  /// member has; `of` 0: all of it.
  bool columns = false;
  uint64_t first = 0, count = 0, of = 0;
};

/// Renames and cuts the tensors of `checkpoint`; parts whose tensor it does not
/// have are skipped. A tensor may be in several parts; its own name is gone
/// then. Errors: a name that the folder has besides, a tensor of another shape
/// than its parts say, columns of elements that are no whole bytes.
Status applyParts(const std::vector<StoredPart> &parts, Checkpoint &checkpoint);

} // namespace saddle

#endif // SADDLE_RUNTIME_CHECKPOINT_PARTS_H
