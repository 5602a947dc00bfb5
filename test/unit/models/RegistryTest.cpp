// Which family a config.json belongs to, and imports through the interface that
// all families share.

#include "models/Registry.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "test/unit/models/SmallM1Config.h"
#include "test/unit/models/Warnings.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

StatusOr<const ModelFamily *> identify(const std::string &text) {
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  return identifyFamily(*reader);
}

TEST(Registry, M2ByNameOrByType) {
  for (const char *text :
       {R"({"architectures": ["MiniMaxM2ForCausalLM"]})",
        R"({"architectures": ["MiniMaxM2ForCausalLM"],
            "model_type": "minimax_m2"})",
        R"({"architectures": ["MiniMaxM2ForCausalLM"],
            "model_type": "minimax"})",
        R"({"architectures": null, "model_type": "minimax_m2"})",
        R"({"architectures": [], "model_type": "minimax_m2"})"}) {
    StatusOr<const ModelFamily *> result = identify(text);
    ASSERT_TRUE(result.ok()) << text << result.status().message();
    EXPECT_STREQ((*result)->architecture, "MiniMaxM2ForCausalLM");
  }
}

TEST(Registry, TextM1AndTransformersByNameOrByType) {
  auto architecture = [](const std::string &text) {
    StatusOr<const ModelFamily *> result = identify(text);
    EXPECT_TRUE(result.ok()) << text << result.status().message();
    return std::string(result.ok() ? (*result)->architecture : "");
  };
  for (const char *name : {"MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"})
    for (const char *type :
         {"minimax_text_01", "MiniMaxText01", "minimax_m1", "MiniMaxM1"})
      EXPECT_EQ(architecture(std::string(R"({"architectures": [")") + name +
                             R"("], "model_type": ")" + type + R"("})"),
                name);
  EXPECT_EQ(architecture(R"({"architectures": ["MiniMaxForCausalLM"],
                             "model_type": "minimax"})"),
            "MiniMaxForCausalLM");
  EXPECT_EQ(architecture(R"({"model_type": "minimax_text_01"})"),
            "MiniMaxText01ForCausalLM");
  EXPECT_EQ(architecture(R"({"model_type": "minimax_m1"})"),
            "MiniMaxM1ForCausalLM");
  EXPECT_EQ(architecture(R"({"model_type": "minimax"})"), "MiniMaxForCausalLM");
}

struct Refusal {
  const char *config;
  const char *message;
};

class FamilyRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(FamilyRefusal, NamesWhatIsWrong) {
  EXPECT_EQ(identify(GetParam().config).status().message(),
            std::string("c.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, FamilyRefusal,
    testing::Values(
        Refusal{R"({"architectures": ["LlamaForCausalLM"]})",
                "architectures[0]: \"LlamaForCausalLM\" is not a known "
                "architecture; known: MiniMaxM2ForCausalLM (minimax_m2), "
                "MiniMaxText01ForCausalLM (minimax_text_01), "
                "MiniMaxM1ForCausalLM (minimax_m1), MiniMaxForCausalLM "
                "(minimax)"},
        Refusal{R"({"model_type": "llama"})",
                "model_type: \"llama\" is not a known architecture; known: "
                "MiniMaxM2ForCausalLM (minimax_m2), MiniMaxText01ForCausalLM "
                "(minimax_text_01), MiniMaxM1ForCausalLM (minimax_m1), "
                "MiniMaxForCausalLM (minimax)"},
        Refusal{R"({"architectures": ["MiniMaxForCausalLM"],
                    "model_type": "minimax_m1"})",
                "model_type: expected \"minimax\", which goes with "
                "architectures[0] = \"MiniMaxForCausalLM\", found "
                "\"minimax_m1\""},
        Refusal{R"({"architectures": ["MiniMaxM1ForCausalLM"],
                    "model_type": "minimax"})",
                "model_type: expected \"minimax_m1\", which goes with "
                "architectures[0] = \"MiniMaxM1ForCausalLM\", found "
                "\"minimax\""},
        Refusal{R"({"architectures":
                    ["MiniMaxM3SparseForConditionalGeneration"]})",
                "architectures[0]: \"MiniMaxM3SparseForConditionalGeneration\""
                " is not supported yet by this version"},
        Refusal{R"({"model_type": "minimax_m3_vl"})",
                "model_type: \"minimax_m3_vl\" is not supported yet by this "
                "version"},
        Refusal{R"({"architectures": ["MiniMaxM2ForCausalLM"],
                    "model_type": "llama"})",
                "model_type: expected \"minimax_m2\", which goes with "
                "architectures[0] = \"MiniMaxM2ForCausalLM\", found "
                "\"llama\""},
        Refusal{"{}", "architectures: missing, expected a list such as "
                      "[\"MiniMaxM2ForCausalLM\"]"},
        Refusal{R"({"architectures": "MiniMaxM2ForCausalLM"})",
                "architectures: expected a list of strings, found "
                "\"MiniMaxM2ForCausalLM\""},
        Refusal{R"({"model_type": 2})",
                "model_type: expected a string, found 2"}));

TEST(ImportModel, PicksTheImporter) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  StatusOr<std::unique_ptr<Importer>> model = importModel(config);
  ASSERT_TRUE(model.ok()) << model.status().message();
  const ModelFacts &facts = (*model)->facts();
  EXPECT_EQ(facts.architecture, "MiniMaxM2ForCausalLM");
  EXPECT_EQ(facts.hidden, 32);
  EXPECT_EQ(facts.layers, 2);
  EXPECT_EQ(facts.vocab, 40);
  EXPECT_EQ(facts.maxPositions, 64);
  EXPECT_THAT(facts.tokens.eos, ElementsAre(1));
  EXPECT_THAT(facts.tokens.bos, ElementsAre(2));
  EXPECT_EQ(facts.fingerprint.size(), 32u);

  folder.write("config.json", R"({"architectures": ["LlamaForCausalLM"]})");
  EXPECT_THAT(importModel(config).status().message(),
              HasSubstr("\"LlamaForCausalLM\" is not a known architecture"));
}

TEST(ImportModel, HandsOnErrorsAndWarningsOfTheFamily) {
  TemporaryFolder folder;
  std::string config = folder.write(
      "config.json", patched(smallConfig(), R"({"head_dim": null})"));
  EXPECT_THAT(importModel(config).status().message(),
              HasSubstr("config.json: head_dim: missing"));
  folder.write("config.json", patched(smallConfig(), R"({"odd": 1})"));
  StatusOr<std::unique_ptr<Importer>> model = importModel(config);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_THAT((*model)->warnings(),
              WarningsAre(config + ": odd: not a known field, ignored"));
}

// Units and extents reach the IR: 6 heads of 8 values, 2 KV heads.
TEST(ImportModel, BuildsAModuleOfItsFacts) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallFp8Config().dump());
  ImportOptions options;
  options.layers = 1;
  StatusOr<std::unique_ptr<Importer>> model = importModel(config, options);
  ASSERT_TRUE(model.ok()) << model.status().message();

  mlir::MLIRContext context;
  context.loadDialect<mlir::func::FuncDialect, model::ModelDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      (*model)->build(context, "tiny", BuildOptions());
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
  auto facts = (*module)->getAttrOfType<mlir::DictionaryAttr>("model.config");
  EXPECT_EQ(facts.getAs<mlir::StringAttr>("name").str(), "tiny");
  EXPECT_EQ(facts.getAs<mlir::IntegerAttr>("num_hidden_layers").getInt(), 1);
  EXPECT_EQ(facts.getAs<mlir::StringAttr>("fingerprint").str(),
            (*model)->facts().fingerprint);
  // 13 weights of layer 1, 7 of them with scales.
  auto ignored =
      (*module)->getAttrOfType<mlir::DictionaryAttr>("model.ignored_sources");
  EXPECT_EQ(ignored.size(), 20u);

  auto k = module->lookupSymbol<model::WeightOp>("layers.0.k_proj");
  ASSERT_TRUE(k);
  auto rows = mlir::cast<model::DimAttr>(k.getDims()[0]);
  EXPECT_EQ(rows.getName().str(), "kv_heads");
  EXPECT_EQ(rows.getUnit(), 8);
  EXPECT_EQ(k.getWeightType().getDimSize(0), 16);
  EXPECT_EQ(mlir::cast<model::DimAttr>(k.getDims()[1]).getUnit(), 1);
  auto cache = module->lookupSymbol<model::KVCacheOp>("layers.0.kv");
  ASSERT_TRUE(cache);
  EXPECT_EQ(cache.getHeads(), 2u);
}

// Layers of two kinds, each with its own state; factors reach the residuals.
TEST(ImportModel, BuildsLayersOfTwoKinds) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallM1Config().dump());
  StatusOr<std::unique_ptr<Importer>> model = importModel(config);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->facts().architecture, "MiniMaxM1ForCausalLM");
  mlir::MLIRContext context;
  context.loadDialect<mlir::func::FuncDialect, model::ModelDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      (*model)->build(context, "tiny", BuildOptions());
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
  auto state =
      module->lookupSymbol<model::RecurrentStateOp>("layers.0.recurrent");
  ASSERT_TRUE(state);
  EXPECT_EQ(state.getHeads(), 4u);
  EXPECT_EQ(state.getRows(), 8u);
  EXPECT_EQ(state.getCols(), 8u);
  EXPECT_FALSE(module->lookupSymbol("layers.1.recurrent"));
  EXPECT_TRUE(module->lookupSymbol<model::KVCacheOp>("layers.1.kv"));
  std::vector<double> alphas, betas, rates;
  module->walk([&](mlir::Operation *op) {
    if (auto add = llvm::dyn_cast<model::ScaledAddOp>(op)) {
      alphas.push_back(add.getAlpha().convertToDouble());
      betas.push_back(add.getBeta().convertToDouble());
      // With postnorm the residual is what was normed for the branch.
      EXPECT_TRUE(add.getLhs().getDefiningOp<model::RMSNormOp>());
    } else if (auto scan = llvm::dyn_cast<model::DecayScanOp>(op)) {
      rates.push_back(scan.getRate().convertToDouble());
      EXPECT_EQ(scan.getHeads(), 4u);
    }
  });
  EXPECT_THAT(alphas, ElementsAre(1.5, 3.5, 2.5, 3.5));
  EXPECT_THAT(betas, ElementsAre(0.5, 0.75, 0.25, 0.75));
  EXPECT_THAT(rates, ElementsAre(1.00001));
}

class Bundled : public testing::TestWithParam<const char *> {};

TEST_P(Bundled, ImportsWithoutWarnings) {
  StatusOr<std::unique_ptr<Importer>> model =
      importModel(std::string(SADDLE_MODELS_DIR) + "/nano/" + GetParam());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_THAT((*model)->warnings(), IsEmpty());
  EXPECT_FALSE((*model)->facts().tokens.eos.empty());
}

INSTANTIATE_TEST_SUITE_P(All, Bundled, testing::Values("bf16", "fp8"));

} // namespace
