// Registration of every pass and pipeline.

#ifndef SADDLE_PASSES_INITALLPASSES_H
#define SADDLE_PASSES_INITALLPASSES_H

namespace saddle {

/// Makes all passes known to textual pipelines.
void registerAllPasses();

} // namespace saddle

#endif // SADDLE_PASSES_INITALLPASSES_H
