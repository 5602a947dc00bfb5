// Axis algebra of meshes, compared with tables that are filled by counting.

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/MLIRContext.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <map>
#include <vector>

using namespace saddle::dist;
using testing::ElementsAre;

namespace {

using Groups = std::vector<std::vector<int64_t>>;

/// Coordinates of one rank: for each mesh axis its index along it.
using Coordinates = std::vector<int64_t>;

class MeshUtilsTest : public testing::Test {
protected:
  mlir::MLIRContext context;

  AxisRef axis(llvm::StringRef name) {
    return {mlir::StringAttr::get(&context, name)};
  }
  AxisRef factor(llvm::StringRef name, int64_t pre, int64_t size) {
    return {mlir::StringAttr::get(&context, name), pre, size};
  }

  /// Coordinates of all ranks, by counting like an odometer.
  static std::vector<Coordinates> countRanks(const Mesh &mesh) {
    std::vector<Coordinates> all;
    Coordinates current(mesh.sizes.size(), 0);
    while (true) {
      all.push_back(current);
      size_t wheel = mesh.sizes.size();
      while (wheel > 0 && ++current[wheel - 1] == mesh.sizes[wheel - 1])
        current[--wheel] = 0;
      if (wheel == 0)
        return all;
    }
  }

  /// share[i]: the share of `ref` that index i along its axis holds, by
  /// walking the axis as [pre, size, rest].
  static std::vector<int64_t> shares(const Mesh &mesh, AxisRef ref) {
    int64_t whole = mesh.axisSize(ref.name.getValue());
    int64_t pre = ref.isWhole() ? 1 : ref.pre;
    int64_t size = ref.isWhole() ? whole : ref.size;
    std::vector<int64_t> table;
    for (int64_t major = 0; major < pre; ++major)
      for (int64_t share = 0; share < size; ++share)
        for (int64_t minor = 0; minor < whole / pre / size; ++minor)
          table.push_back(share);
    return table;
  }

  static size_t position(const Mesh &mesh, AxisRef ref) {
    for (size_t i = 0; i < mesh.names.size(); ++i)
      if (mesh.names[i] == ref.name.getValue())
        return i;
    ADD_FAILURE() << "no such axis";
    return 0;
  }

  static std::vector<int64_t> expectedShares(const Mesh &mesh, AxisRef ref) {
    std::vector<int64_t> table = shares(mesh, ref);
    std::vector<int64_t> result;
    for (const Coordinates &rank : countRanks(mesh))
      result.push_back(table[rank[position(mesh, ref)]]);
    return result;
  }

  static std::vector<int64_t> foundShares(const Mesh &mesh, AxisRef ref) {
    RankIndex index = mesh.rankIndex(ref);
    std::vector<int64_t> result;
    for (int64_t rank = 0; rank < mesh.size(); ++rank)
      result.push_back(rank / index.divisor % index.modulus);
    return result;
  }

  /// Two ranks belong together when they become equal once each is moved to
  /// share 0 of every axis, one step down along the axis at a time.
  static Groups expectedGroups(const Mesh &mesh, std::vector<AxisRef> axes) {
    auto ranks = countRanks(mesh);
    std::map<Coordinates, std::vector<int64_t>> byKey;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      Coordinates key = ranks[rank];
      for (AxisRef ref : axes) {
        std::vector<int64_t> table = shares(mesh, ref);
        int64_t &index = key[position(mesh, ref)];
        // The same place within the share, `share` shares further down.
        int64_t rest = table.size();
        for (int64_t i = 0, e = table.size(); i < e; ++i)
          if (table[i] != table[0]) {
            rest = i;
            break;
          }
        index -= table[index] * rest;
      }
      byKey[key].push_back(rank);
    }
    Groups groups;
    for (auto &[key, members] : byKey)
      groups.push_back(members);
    return groups;
  }
};

TEST_F(MeshUtilsTest, SizesOfMeshAndAxes) {
  Mesh mesh{{"dp", "tp"}, {2, 4}};
  EXPECT_EQ(mesh.size(), 8);
  EXPECT_EQ(mesh.axisSize("dp"), 2);
  EXPECT_EQ(mesh.axisSize("tp"), 4);
  EXPECT_EQ(mesh.axisSize("ep"), 0);
}

TEST_F(MeshUtilsTest, FactorCountsShares) {
  Mesh mesh{{"dp", "tp"}, {2, 12}};
  EXPECT_EQ(mesh.factor(AxisRef()), 1);
  EXPECT_EQ(mesh.factor(axis("tp")), 12);
  EXPECT_EQ(mesh.factor(factor("tp", 2, 3)), 3);
}

TEST_F(MeshUtilsTest, HasKnowsNamesAndFactors) {
  Mesh mesh{{"tp"}, {12}};
  EXPECT_TRUE(mesh.has(axis("tp")));
  EXPECT_FALSE(mesh.has(AxisRef()));
  EXPECT_FALSE(mesh.has(axis("ep")));
  EXPECT_FALSE(mesh.has(factor("ep", 1, 2)));
  for (int64_t pre = -1; pre <= 13; ++pre)
    for (int64_t size = 1; size <= 13; ++size) {
      // pre x size x rest = 12 for a whole rest
      bool expected = false;
      for (int64_t rest = 1; rest <= 12; ++rest)
        expected |= pre > 0 && pre * size * rest == 12;
      EXPECT_EQ(mesh.has(factor("tp", pre, size)), expected)
          << "(" << pre << ")" << size;
    }
  EXPECT_FALSE(mesh.has(factor("tp", 1, -4)));
}

// 8 ranks and 4 KV heads: ranks 2j and 2j+1 hold head j.
TEST_F(MeshUtilsTest, MajorFactorReplicatesOverNeighbours) {
  Mesh mesh{{"tp"}, {8}};
  EXPECT_THAT(foundShares(mesh, factor("tp", 1, 4)),
              ElementsAre(0, 0, 1, 1, 2, 2, 3, 3));
}

TEST_F(MeshUtilsTest, MinorFactorAlternates) {
  Mesh mesh{{"tp"}, {8}};
  EXPECT_THAT(foundShares(mesh, factor("tp", 4, 2)),
              ElementsAre(0, 1, 0, 1, 0, 1, 0, 1));
}

TEST_F(MeshUtilsTest, LastAxisVariesFastest) {
  Mesh mesh{{"dp", "tp"}, {2, 3}};
  EXPECT_THAT(foundShares(mesh, axis("dp")), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(foundShares(mesh, axis("tp")), ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST_F(MeshUtilsTest, NoAxisIsOneShare) {
  Mesh mesh{{"tp"}, {4}};
  RankIndex index = mesh.rankIndex(AxisRef());
  for (int64_t rank = 0; rank < 4; ++rank)
    EXPECT_EQ(rank / index.divisor % index.modulus, 0);
}

TEST_F(MeshUtilsTest, SharesOfEveryFactorMatchCounting) {
  Mesh mesh{{"dp", "tp", "ep"}, {2, 12, 3}};
  for (llvm::StringRef name : {"dp", "tp", "ep"}) {
    EXPECT_EQ(foundShares(mesh, axis(name)), expectedShares(mesh, axis(name)));
    for (int64_t pre = 1; pre <= 12; ++pre)
      for (int64_t size = 1; size <= 12; ++size) {
        AxisRef ref = factor(name, pre, size);
        if (mesh.has(ref))
          EXPECT_EQ(foundShares(mesh, ref), expectedShares(mesh, ref))
              << name.str() << ":(" << pre << ")" << size;
      }
  }
}

TEST_F(MeshUtilsTest, GroupsByHand) {
  Mesh mesh{{"dp", "tp"}, {2, 4}};
  EXPECT_EQ(mesh.groups(axis("tp")), (Groups{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(mesh.groups(axis("dp")), (Groups{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(mesh.groups({axis("dp"), axis("tp")}),
            (Groups{{0, 1, 2, 3, 4, 5, 6, 7}}));
  EXPECT_EQ(mesh.groups({}), (Groups{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}));
}

TEST_F(MeshUtilsTest, GroupsAlongFactors) {
  Mesh mesh{{"tp"}, {8}};
  EXPECT_EQ(mesh.groups(factor("tp", 1, 2)),
            (Groups{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(mesh.groups(factor("tp", 2, 2)),
            (Groups{{0, 2}, {1, 3}, {4, 6}, {5, 7}}));
  EXPECT_EQ(mesh.groups({factor("tp", 1, 2), factor("tp", 4, 2)}),
            (Groups{{0, 1, 4, 5}, {2, 3, 6, 7}}));
}

TEST_F(MeshUtilsTest, GroupsMatchCounting) {
  Mesh mesh{{"dp", "tp", "ep"}, {2, 12, 3}};
  std::vector<AxisRef> refs = {axis("dp"), axis("tp"), axis("ep")};
  for (int64_t pre : {1, 2, 3, 4, 6})
    for (int64_t size : {2, 3, 4, 6})
      if (12 % (pre * size) == 0)
        refs.push_back(factor("tp", pre, size));
  for (AxisRef a : refs) {
    EXPECT_EQ(mesh.groups(a), expectedGroups(mesh, {a}));
    for (AxisRef b : refs)
      if (mesh.disjoint(a, b))
        EXPECT_EQ(mesh.groups({a, b}), expectedGroups(mesh, {a, b}));
  }
}

TEST_F(MeshUtilsTest, GroupsPartitionTheRanks) {
  Mesh mesh{{"dp", "tp"}, {3, 4}};
  std::vector<int> seen(12);
  for (const auto &group : mesh.groups({axis("dp"), factor("tp", 1, 2)})) {
    EXPECT_EQ(group.size(), 6u);
    for (int64_t rank : group)
      ++seen[rank];
  }
  EXPECT_THAT(seen, testing::Each(1));
}

// Two axes are independent when every pair of shares is held by equally many
// ranks, none by no rank.
TEST_F(MeshUtilsTest, DisjointMeansEveryPairOfShares) {
  Mesh mesh{{"dp", "tp"}, {2, 12}};
  std::vector<AxisRef> refs = {axis("dp"), axis("tp")};
  for (int64_t pre : {1, 2, 3, 4, 6})
    for (int64_t size : {2, 3, 4, 6})
      if (12 % (pre * size) == 0)
        refs.push_back(factor("tp", pre, size));
  for (AxisRef a : refs)
    for (AxisRef b : refs) {
      std::vector<int64_t> first = expectedShares(mesh, a);
      std::vector<int64_t> second = expectedShares(mesh, b);
      std::map<std::pair<int64_t, int64_t>, int> pairs;
      for (int64_t rank = 0; rank < mesh.size(); ++rank)
        ++pairs[{first[rank], second[rank]}];
      // The reverse is not asked for: a pair is refused also when its shares
      // are no digits of one index.
      bool independent =
          pairs.size() == static_cast<size_t>(mesh.factor(a) * mesh.factor(b));
      for (auto &[pair, count] : pairs)
        independent &= count == pairs.begin()->second;
      if (mesh.disjoint(a, b))
        EXPECT_TRUE(independent);
      if (a == b)
        EXPECT_FALSE(mesh.disjoint(a, b));
      EXPECT_EQ(mesh.disjoint(a, b), mesh.disjoint(b, a));
    }
}

TEST_F(MeshUtilsTest, DisjointByHand) {
  Mesh mesh{{"dp", "tp"}, {2, 12}};
  EXPECT_TRUE(mesh.disjoint(axis("dp"), axis("tp")));
  EXPECT_TRUE(mesh.disjoint(factor("tp", 1, 2), factor("tp", 2, 6)));
  EXPECT_TRUE(mesh.disjoint(factor("tp", 1, 2), factor("tp", 4, 3)));
  EXPECT_FALSE(mesh.disjoint(axis("tp"), factor("tp", 2, 2)));
  EXPECT_FALSE(mesh.disjoint(factor("tp", 1, 4), factor("tp", 2, 2)));
  // 6 is no multiple of 4: the second factor is no digit below the first.
  EXPECT_FALSE(mesh.disjoint(factor("tp", 1, 4), factor("tp", 6, 2)));
}

class LocalTypeTest : public MeshUtilsTest {
protected:
  LocalTypeTest() { context.loadDialect<DistDialect>(); }

  mlir::RankedTensorType tensor(llvm::ArrayRef<int64_t> shape) {
    return mlir::RankedTensorType::get(shape, mlir::Float32Type::get(&context));
  }
  ShardingAttr sharding(llvm::ArrayRef<AxisRef> dims,
                        llvm::ArrayRef<AxisRef> unreduced = {}) {
    return ShardingAttr::get(&context,
                             mlir::FlatSymbolRefAttr::get(&context, "mesh"),
                             dims, unreduced);
  }

  Mesh mesh{{"dp", "tp"}, {2, 4}};
};

TEST_F(LocalTypeTest, DividesSplitDimensions) {
  EXPECT_EQ(localType(tensor({6, 64}), sharding({AxisRef(), axis("tp")}), mesh),
            tensor({6, 16}));
  EXPECT_EQ(
      localType(tensor({6, 64}), sharding({axis("dp"), axis("tp")}), mesh),
      tensor({3, 16}));
  EXPECT_EQ(localType(tensor({6, 64}),
                      sharding({AxisRef(), factor("tp", 1, 2)}), mesh),
            tensor({6, 32}));
}

TEST_F(LocalTypeTest, PartialSumsKeepTheShape) {
  EXPECT_EQ(localType(tensor({6, 64}),
                      sharding({AxisRef(), AxisRef()}, axis("tp")), mesh),
            tensor({6, 64}));
}

TEST_F(LocalTypeTest, RefusesWhatDoesNotDivide) {
  EXPECT_FALSE(
      localType(tensor({6, 62}), sharding({AxisRef(), axis("tp")}), mesh));
  EXPECT_FALSE(localType(tensor({mlir::ShapedType::kDynamic, 64}),
                         sharding({axis("dp"), AxisRef()}), mesh));
}

TEST_F(LocalTypeTest, UnsplitDynamicDimensionStays) {
  auto type = tensor({mlir::ShapedType::kDynamic, 64});
  EXPECT_EQ(localType(type, sharding({AxisRef(), axis("tp")}), mesh),
            tensor({mlir::ShapedType::kDynamic, 16}));
}

TEST_F(LocalTypeTest, ShardingQueries) {
  EXPECT_TRUE(sharding({AxisRef(), AxisRef()}).isReplicated());
  EXPECT_TRUE(sharding({AxisRef(), AxisRef()}, axis("tp")).isUnsplit());
  EXPECT_FALSE(sharding({AxisRef(), AxisRef()}, axis("tp")).isReplicated());
  EXPECT_FALSE(sharding({AxisRef(), axis("tp")}).isUnsplit());
  EXPECT_EQ(ShardingAttr::getReplicated(
                mlir::FlatSymbolRefAttr::get(&context, "mesh"), 2),
            sharding({AxisRef(), AxisRef()}));
}

TEST_F(LocalTypeTest, RankValueIsPiecewiseLinear) {
  auto value = RankValueAttr::get(&context, /*base=*/5, /*divisor=*/2,
                                  /*modulus=*/3, /*step=*/10);
  std::vector<int64_t> found;
  for (int64_t rank = 0; rank < 8; ++rank)
    found.push_back(value.evaluate(rank));
  EXPECT_THAT(found, ElementsAre(5, 5, 15, 15, 25, 25, 5, 5));
  EXPECT_EQ(RankValueAttr::getConstant(&context, 7).evaluate(3), 7);
}

TEST_F(LocalTypeTest, AxesPrintAsTheyParse) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  printAxes(stream, {axis("tp"), factor("ep", 1, 2)});
  EXPECT_EQ(text, "[\"tp\", \"ep\":(1)2]");
}

} // namespace
