// Values that share words, or lie transposed, as the matrix that pieces read
// (engine.fbs `Unpacking`).

#ifndef SADDLE_RUNTIME_WEIGHTS_UNPACK_H
#define SADDLE_RUNTIME_WEIGHTS_UNPACK_H

#include "runtime/src/weights/RecipeSource.h"

#include <functional>

namespace saddle::weights {

/// As RecipeSource::readCells, of a tensor's words.
using ReadWords = std::function<void(const CellRange &range, uint8_t *out)>;

/// Elements `range` of the matrix of its source, which has an unpacking, to
/// `out`, densely. `words` is reused memory.
void unpackCells(const ReadWords &read, const schema::Source &tensor,
                 const CellRange &range, uint8_t *out,
                 std::vector<uint8_t> &words);

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_UNPACK_H
