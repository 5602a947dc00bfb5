// Drafts that a model cannot have.

#include "models/Registry.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "test/unit/models/SmallDraft.h"
#include "test/unit/models/SmallM1Config.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"

#include <gmock/gmock.h>

using namespace saddle;
using testing::HasSubstr;

namespace {

/// What importing and attaching the folder's draft to `model` says.
std::string attach(const nlohmann::json &model, const TemporaryFolder &draft) {
  TemporaryFolder folder;
  mlir::MLIRContext context;
  context.loadDialect<mlir::func::FuncDialect, model::ModelDialect>();
  auto importer = importModel(folder.write("config.json", model.dump()));
  EXPECT_TRUE(importer.ok()) << importer.status().message();
  DraftOptions options;
  options.taps = {0, 1};
  auto imported = importDraft(draft.path(""), (*importer)->facts(), options);
  EXPECT_TRUE(imported.ok()) << imported.status().message();
  if (!imported.ok())
    return "";
  mlir::OwningOpRef<mlir::ModuleOp> module =
      (*importer)->build(context, "tiny", BuildOptions());
  return (*imported)->attach(*module, BuildOptions(), "").message();
}

const char kTaps[] =
    R"("eagle_config": {"eagle_aux_hidden_state_layer_ids": [0, 1]})";

// They go back by snapshots of their state.
TEST(Eagle3Draft, RecurrentModelsHaveThem) {
  const std::string patch = "{" + std::string(kTaps) + "}";
  TemporaryFolder draft;
  draft.write("config.json", patched(smallDraft(), patch));
  tensorsOfDraft(patch).write(draft);
  EXPECT_EQ(attach(smallM1Config(), draft), "");
}

// The draft is 24 wide and has no table of its own; the model's is 32 wide.
TEST(Eagle3Draft, ATableOfAnotherWidthCannotBeShared) {
  const std::string patch =
      R"({"target_hidden_size": 32, )" + std::string(kTaps) + "}";
  TemporaryFolder draft;
  draft.write("config.json", patched(smallDraft(), patch));
  TinyCheckpoint tensors = tensorsOfDraft(patch);
  tensors.erase("embed_tokens.weight");
  tensors.write(draft);
  EXPECT_THAT(attach(smallConfig(), draft),
              HasSubstr("tensor, and the model's is 40 x 32, expected 40 x "
                        "24"));
}

} // namespace
