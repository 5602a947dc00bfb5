// The tiny engine for target sm_90a: every command has a kernel of its own,
// whose only function is named after its place, so that a fake device knows
// what a launch stands for.

#ifndef SADDLE_TEST_UNIT_CUDA_DEVICEENGINE_H
#define SADDLE_TEST_UNIT_CUDA_DEVICEENGINE_H

#include "runtime/src/engine/Engine.h"
#include "test/unit/engine/TinyEngine.h"

namespace saddle::cuda {

/// Bytes of each exchange block.
constexpr uint64_t kExchangeBytes = 512;

/// One module of 4096 zero bytes; functions "STAGE.ENTRY.COMMAND" of 2 x 1 x 1
/// CTAs of 64 threads; a block of exchange memory for each rank group and one
/// for transfers, in an arena "exchange"; a kernel for chains of steps.
std::unique_ptr<schema::EngineT> deviceEngine(const TinyOptions &options);

/// The engine, loaded.
std::shared_ptr<const Engine> load(const schema::EngineT &description);

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_DEVICEENGINE_H
