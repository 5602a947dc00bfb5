// The way of a file from bytes to an engine: honest files load, and every
// truncation, flipped bit and foreign version is refused.

#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/EngineFile.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using schema::DType;

namespace {

std::string loadError(const std::vector<uint8_t> &file) {
  auto engine = Engine::fromBytes(file.data(), file.size(), "t.saddle");
  return engine.ok() ? "" : engine.status().message();
}

TEST(Load, tinyEnginesAreValid) {
  for (uint32_t tp : {1, 2, 4})
    for (DType compute : {DType::F32, DType::BF16})
      for (DType kv : {DType::F32, DType::BF16, DType::F8E4M3}) {
        TinyOptions options;
        options.tp = tp;
        options.layers = 2;
        options.compute = compute;
        options.kv = kv;
        EXPECT_EQ(loadError(engineFileOf(*tinyEngine(options))), "");
      }
}

} // namespace
