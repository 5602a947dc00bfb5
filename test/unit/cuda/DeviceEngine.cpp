#include "test/unit/cuda/DeviceEngine.h"

#include "runtime/kernels/abi.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/CommandNames.h"
#include "runtime/src/engine/EngineFile.h"

#include <gtest/gtest.h>

using namespace saddle::schema;

namespace saddle::cuda {

static const std::vector<uint8_t> kImage(4096);

namespace {

class Specializer {
public:
  explicit Specializer(EngineT &engine) : engine(engine) {}
  void run();

private:
  void specialize(CommandT &command, EntryT &entry);
  /// Index of a new kernel like `like`, with one function `name`.
  uint32_t kernelLike(const KernelT &like);
  uint32_t kernelOf(const std::string &op);
  uint32_t exchange(EntryT &entry, uint32_t block);

  EngineT &engine;
  std::vector<std::unique_ptr<KernelT>> kernels;
  std::string name;
  uint32_t exchangeArena = 0;
};

} // namespace

uint32_t Specializer::kernelLike(const KernelT &like) {
  auto kernel = std::make_unique<KernelT>(like);
  auto function = std::make_unique<FunctionT>();
  function->name = name;
  function->grid_x = 2;
  function->block = 64;
  function->shared_bytes = 48 << 10; // together with static memory, too much
  kernel->name = name;
  kernel->functions.push_back(std::move(function));
  kernels.push_back(std::move(kernel));
  return uint32_t(kernels.size() - 1);
}

uint32_t Specializer::kernelOf(const std::string &op) {
  KernelT kernel;
  kernel.op = op;
  return kernelLike(kernel);
}

/// One behind the index of a new slice: the block of a group.
uint32_t Specializer::exchange(EntryT &entry, uint32_t block) {
  auto slice = std::make_unique<SliceT>();
  slice->arena = exchangeArena;
  slice->offset = block * kExchangeBytes;
  slice->dtype = DType::U8;
  slice->shape = {kExchangeBytes};
  slice->strides = {1};
  entry.slices.push_back(std::move(slice));
  return uint32_t(entry.slices.size());
}

void Specializer::specialize(CommandT &command, EntryT &entry) {
  if (LaunchT *launch = command.action.AsLaunch()) {
    launch->kernel = kernelLike(*engine.kernels[launch->kernel]);
  } else if (CollectiveT *collective = command.action.AsCollective()) {
    collective->kernel = 1 + kernelOf(engine::opOf(collective->kind));
    collective->exchange = exchange(entry, collective->groups);
  } else if (TransferT *transfer = command.action.AsTransfer()) {
    transfer->kernel = 1 + kernelOf(engine::opOf(transfer->kind));
    transfer->exchange = exchange(entry, uint32_t(engine.rank_groups.size()));
  } else {
    command.action.AsCopy()->kernel = 1 + kernelOf(engine::kCopyOp);
  }
}

void Specializer::run() {
  engine.target = "sm_90a";
  auto module = std::make_unique<ModuleT>();
  module->name = "code";
  module->bytes = kImage.size();
  Hasher128 hasher;
  hasher.update(kImage.data(), kImage.size());
  module->hash = hasher.hex();
  engine.modules.push_back(std::move(module));

  auto arena = std::make_unique<ArenaT>();
  arena->name = "exchange";
  arena->kind = ArenaKind::EXCHANGE;
  arena->alignment = 256;
  arena->bytes = (engine.rank_groups.size() + 1) * kExchangeBytes;
  exchangeArena = uint32_t(engine.arenas.size());
  engine.arenas.push_back(std::move(arena));

  for (size_t stage = 0; stage < engine.programs.size(); ++stage)
    for (size_t e = 0; e < engine.programs[stage]->entries.size(); ++e) {
      EntryT &entry = *engine.programs[stage]->entries[e];
      for (size_t c = 0; c < entry.commands.size(); ++c) {
        name = std::to_string(stage) + "." + std::to_string(e) + "." +
               std::to_string(c);
        specialize(*entry.commands[c], entry);
      }
    }
  // What chains steps is launched by the runtime itself.
  name = device::kChainKernel;
  kernelOf(name);
  engine.kernels = std::move(kernels);
}

std::unique_ptr<EngineT> deviceEngine(const TinyOptions &options) {
  std::unique_ptr<EngineT> engine = tinyEngine(options);
  Specializer(*engine).run();
  return engine;
}

std::shared_ptr<const saddle::Engine> load(const EngineT &description) {
  std::vector<uint8_t> file = packEngineFile(flatBufferOf(description), kImage);
  auto engine = saddle::Engine::fromBytes(file.data(), file.size(), "tiny");
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? std::move(*engine) : nullptr;
}

} // namespace saddle::cuda
