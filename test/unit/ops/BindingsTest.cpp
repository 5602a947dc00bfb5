// The table of bindings: what must hold for those who index it.

#include "runtime/ops/Bindings.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace saddle::ops {
namespace {

TEST(Bindings, AreOrderedByIdAndOutputsComeLast) {
  ASSERT_EQ(bindings().size(), kBindings);
  std::set<std::string> names;
  bool outputsBegan = false;
  for (size_t i = 0; i < kBindings; ++i) {
    const Binding &binding = bindings()[i];
    EXPECT_EQ(size_t(binding.id), i);
    EXPECT_EQ(&bindingOf(binding.id), &binding);
    EXPECT_EQ(findBinding(binding.name), &binding);
    EXPECT_TRUE(names.insert(binding.name).second) << binding.name;
    outputsBegan |= binding.isOutput();
    EXPECT_EQ(binding.isOutput(), outputsBegan) << binding.name;
    EXPECT_EQ(binding.isOutput(), binding.output != nullptr) << binding.name;
  }
  EXPECT_EQ(outputs().end(), bindings().end());
  EXPECT_EQ(outputs().size(), 3u);
  EXPECT_EQ(findBinding("hidden"), nullptr);
  EXPECT_EQ(findBinding(""), nullptr);
}

TEST(Bindings, StagesSayWhatIsRequired) {
  auto required = [](bool isFirst, bool isLast, bool isMain = true) {
    std::string names;
    for (const Binding &binding : bindings())
      if (binding.isRequired(isMain, isFirst, isLast))
        names += std::string(binding.name) + " ";
    return names;
  };
  EXPECT_EQ(required(false, false), "positions sequences slots block_table ");
  EXPECT_EQ(required(true, false),
            "tokens positions sequences slots block_table ");
  EXPECT_EQ(required(false, true),
            "positions rows sequences slots block_table logits ");
  EXPECT_EQ(required(false, true, /*isMain=*/false),
            "positions rows sequences slots block_table ");
}

TEST(Bindings, ShapesComeFromTheSizes) {
  Sizes sizes;
  sizes.tokens = 5;
  sizes.rows = 3;
  sizes.replicas = 2;
  sizes.sequences = 7;
  sizes.pages = 11;
  sizes.vocab = 13;
  sizes.candidates = 4;
  auto shape = [&](const char *name) {
    return findBinding(name)->shape(sizes);
  };
  using Shape = std::vector<uint64_t>;
  EXPECT_EQ(shape("slots"), Shape{5});
  EXPECT_EQ(shape("rows"), Shape{3});
  EXPECT_EQ(shape("block_table"), (Shape{7, 11}));
  EXPECT_EQ(shape("logits"), (Shape{2 * 3, 13}));
  EXPECT_EQ(shape("candidate_tokens"), (Shape{2 * 3, 4}));
}

} // namespace
} // namespace saddle::ops
