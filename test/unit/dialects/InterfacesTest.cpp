// What every op of the `model` dialect must say about itself, so that passes
// need not know it.

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace saddle;

namespace {

class InterfacesTest : public testing::Test {
protected:
  InterfacesTest() {
    context.loadDialect<dist::DistDialect>();
    context.allowUnregisteredDialects();
  }

  /// The names of the dialect's ops that are no symbols.
  std::vector<RegisteredOperationName> stepOps() {
    std::vector<RegisteredOperationName> names;
    for (RegisteredOperationName name :
         context.getRegisteredOperationsByDialect("model"))
      if (!name.hasTrait<SymbolOpInterface::Trait>())
        names.push_back(name);
    return names;
  }

  /// The only op of a module, which verifies on its own.
  OwningOpRef<ModuleOp> parse(StringRef text) {
    return parseSourceString<ModuleOp>(
        text, ParserConfig(&context, /*verifyAfterParse=*/false));
  }

  MLIRContext context;
};

} // namespace

TEST_F(InterfacesTest, EveryStepOpSaysWhatItLaunchesAndHowItIsSharded) {
  EXPECT_GE(stepOps().size(), 16u);
  for (RegisteredOperationName name : stepOps()) {
    EXPECT_TRUE(name.hasInterface<model::LaunchOpInterface>())
        << name.getStringRef().str();
    EXPECT_TRUE(name.hasInterface<dist::ShardingRuleOpInterface>())
        << name.getStringRef().str();
    EXPECT_TRUE(name.hasTrait<model::DeclaresSymbols>())
        << name.getStringRef().str();
  }
}

TEST_F(InterfacesTest, OpsThatCheckSymbolsDeclareThem) {
  for (RegisteredOperationName name : stepOps())
    EXPECT_EQ(name.hasInterface<SymbolUserOpInterface>(),
              name.hasInterface<model::WeightUserOpInterface>() ||
                  name.hasInterface<model::StateUserOpInterface>())
        << name.getStringRef().str();
}

TEST_F(InterfacesTest, ASymbolThatIsNotDeclaredIsAnError) {
  OwningOpRef<ModuleOp> module = parse(R"("test.op"() {w = [@a]} : () -> ())");
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  EXPECT_TRUE(
      failed(model::verifySymbolsDeclared(&module->getBody()->front())));
  EXPECT_EQ(message,
            "'test.op' op names @a, which it declares neither as a weight "
            "(WeightUserOpInterface) nor as state (StateUserOpInterface)");
}

TEST_F(InterfacesTest, ReplacingWeightsLeavesTheRest) {
  OwningOpRef<ModuleOp> module = parse(R"(
    %x, %w, %e = "test.values"() : () -> (tensor<2x8xbf16>, tensor<2x2xf32>, tensor<2x2xi32>)
    %y = model.experts %x, %w, %e gate_up [@gate, @up] down @down
      {test.note = @gate} : tensor<2x8xbf16>, tensor<2x2xf32>, tensor<2x2xi32>
  )");
  auto experts = *module->getBody()->getOps<model::ExpertsOp>().begin();
  model::replaceWeights(experts, [&](const model::WeightUse &use) {
    return FlatSymbolRefAttr::get(&context,
                                  (use.symbol.getValue() + ".shard").str());
  });
  EXPECT_EQ(cast<FlatSymbolRefAttr>(experts.getGateUp()[0]).getValue(),
            "gate.shard");
  EXPECT_EQ(cast<FlatSymbolRefAttr>(experts.getGateUp()[1]).getValue(),
            "up.shard");
  EXPECT_EQ(experts.getDown(), "down.shard");
  EXPECT_EQ(experts->getAttrOfType<FlatSymbolRefAttr>("test.note").getValue(),
            "gate");
}

TEST_F(InterfacesTest, RowsAreCountedThroughTheOpsThatMadeThem) {
  OwningOpRef<ModuleOp> module = parse(R"(
    "test.function"() ({
    ^bb0(%x: tensor<8x4xbf16>, %rows: tensor<2xi32>):
      %a = model.add %x, %x : tensor<8x4xbf16>
      %r = model.select_rows %a, %rows : tensor<8x4xbf16>, tensor<2xi32> -> tensor<2x4xbf16>
      %b = model.add %r, %r : tensor<2x4xbf16>
      %c = "test.other"() : () -> tensor<2x4xbf16>
    }) : () -> ()
  )");
  Block &body = module->getBody()->front().getRegion(0).front();
  std::vector<Value> values;
  for (Operation &op : body)
    values.push_back(op.getResult(0));
  EXPECT_EQ(model::countedBy(values[0]), body.getArgument(0));
  EXPECT_EQ(model::countedBy(values[1]), body.getArgument(1));
  EXPECT_EQ(model::countedBy(values[2]), body.getArgument(1));
  EXPECT_EQ(model::countedBy(values[3]), BlockArgument());
}
