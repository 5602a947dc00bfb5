// What a command's parameters point to, without a device.

#include "runtime/src/cuda/Commands.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

namespace saddle::cuda {
namespace {

/// Addresses that tell where they come from.
RankAddresses addressesOf(const schema::Engine &engine) {
  RankAddresses addresses;
  addresses.engine = &engine;
  for (uint64_t i = 0; i < engine.arenas()->size(); ++i)
    addresses.arenas.push_back((i + 1) << 32);
  addresses.groups = uint64_t(1) << 40;
  addresses.fault = uint64_t(1) << 41;
  addresses.step = uint64_t(1) << 42;
  return addresses;
}

/// Two attention replicas: rank groups "tp", "attention", "replicas".
std::unique_ptr<schema::EngineT> replicas() {
  TinyOptions tiny;
  tiny.tp = 4;
  tiny.dp = 2;
  return deviceEngine(tiny);
}

TEST(CommandsTest, EachCommandHasItsOwnGroup) {
  auto tree = replicas();
  ASSERT_EQ(tree->rank_groups.size(), 3u);
  auto &commands = tree->programs[0]->entries[0]->commands;
  std::vector<size_t> expected(commands.size(), 0); // behind the group's number
  uint32_t exchange = 0;
  for (size_t i = 0; i < commands.size(); ++i)
    if (const auto *collective = commands[i]->action.AsCollective()) {
      expected[i] = collective->groups + 1;
      exchange = collective->exchange;
    }
  ASSERT_NE(exchange, 0u);
  // Launches that exchange inside name theirs one behind, 0 for none.
  size_t launches = 0;
  for (size_t i = 0; i < commands.size() && launches < 3; ++i)
    if (auto *launch = commands[i]->action.AsLaunch()) {
      launch->groups = uint32_t(++launches);
      launch->exchange = exchange;
      expected[i] = launches;
    }
  ASSERT_EQ(launches, 3u);
  std::vector<uint8_t> buffer = flatBufferOf(*tree);
  const schema::Engine &engine = *schema::GetEngine(buffer.data());
  const schema::Entry &entry = *engine.programs()->Get(0)->entries()->Get(0);
  RankAddresses addresses = addressesOf(engine);
  const auto *groups = reinterpret_cast<device::Group *>(addresses.groups);
  size_t met = 0;
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    DeviceCommand command = resolveCommand(engine, entry, i, addresses);
    EXPECT_EQ(command.params.command, i);
    if (entry.commands()->Get(i)->action_as_Transfer())
      continue;
    EXPECT_EQ(command.params.group,
              expected[i] ? groups + (expected[i] - 1) : nullptr)
        << i;
    EXPECT_EQ(command.params.exchange != nullptr, expected[i] != 0) << i;
    met += expected[i] != 0;
  }
  EXPECT_GT(met, 3u);
}

TEST(CommandsTest, OperandsAreWhereTheirSlicesAre) {
  auto tree = replicas();
  std::vector<uint8_t> buffer = flatBufferOf(*tree);
  const schema::Engine &engine = *schema::GetEngine(buffer.data());
  const schema::Entry &entry = *engine.programs()->Get(0)->entries()->Get(0);
  RankAddresses addresses = addressesOf(engine);
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    const auto *launch = entry.commands()->Get(i)->action_as_Launch();
    if (!launch)
      continue;
    DeviceCommand command = resolveCommand(engine, entry, i, addresses);
    EXPECT_EQ(command.kernel, launch->kernel());
    for (uint32_t j = 0; j < launch->operands()->size(); ++j) {
      const schema::Slice &slice =
          *entry.slices()->Get(launch->operands()->Get(j));
      EXPECT_EQ(reinterpret_cast<uint64_t>(command.params.operands[j]),
                ((uint64_t(slice.arena()) + 1) << 32) + slice.offset());
    }
  }
}

} // namespace
} // namespace saddle::cuda
