// What the import says about a folder of tensors.

#ifndef SADDLE_TEST_UNIT_MODELS_ACCOUNTINGERROR_H
#define SADDLE_TEST_UNIT_MODELS_ACCOUNTINGERROR_H

#include "models/Common/TensorAccounting.h"
#include "models/MiniMax/M2Weights.h"
#include "test/unit/models/TinyCheckpoint.h"

#include <gtest/gtest.h>

namespace saddle {

/// Behind the folder's name; empty when all tensors fit the configuration.
inline std::string accountingError(const nlohmann::json &json,
                                   const TinyCheckpoint &tensors) {
  TemporaryFolder folder;
  tensors.write(folder);
  std::vector<std::string> warnings;
  StatusOr<M2Config> config =
      readM2Config(*ConfigReader::parse(json.dump(), "c.json"), warnings);
  EXPECT_TRUE(config.ok()) << config.status().message();
  StatusOr<Checkpoint> checkpoint = Checkpoint::open(folder.path(""));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  StatusOr<ModelWeights> weights = listM2Weights(*config, "c.json");
  EXPECT_TRUE(weights.ok());
  std::string message =
      accountForTensors(*checkpoint, m2AccountingRules(*config, "c.json"),
                        *weights)
          .message();
  std::string prefix = folder.path("") + ": ";
  return message.substr(std::min(prefix.size(), message.size()));
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_ACCOUNTINGERROR_H
