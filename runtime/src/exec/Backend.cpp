#include "runtime/src/exec/Backend.h"

#include "runtime/src/engine/Extents.h"
#include "runtime/src/exec/CpuProgram.h"

namespace saddle::exec {

StatusOr<std::unique_ptr<Backend>>
Backend::create(std::shared_ptr<const Engine> engine,
                const BackendOptions &options) {
  return CpuBackend::create(std::move(engine));
}

const schema::Program &programOf(const schema::Engine &engine, uint32_t rank) {
  return *engine.programs()->Get(
      engine::placeOf(*engine.topology(), rank).stage);
}

} // namespace saddle::exec
