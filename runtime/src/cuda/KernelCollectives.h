// Collectives and transfers by the engine's own kernels: those of every device
// target that nobody else takes.

#ifndef SADDLE_RUNTIME_CUDA_KERNELCOLLECTIVES_H
#define SADDLE_RUNTIME_CUDA_KERNELCOLLECTIVES_H

#include "runtime/src/cuda/Launcher.h"
#include "runtime/src/cuda/StreamRun.h"

namespace saddle::cuda {

/// Of one rank; launcher and addresses outlive what it binds.
class KernelCollectives : public StreamProvider {
public:
  KernelCollectives(const Launcher &launcher, const RankAddresses &addresses)
      : launcher(launcher), addresses(addresses) {}

  bool takes(const schema::Entry &, const schema::Command &) const override {
    return true;
  }
  std::unique_ptr<StreamCollective>
  bind(const backend::CollectiveSite &site) override {
    return std::make_unique<Bound>(
        launcher,
        resolveCommand(site.engine, site.entry, site.number, addresses));
  }

private:
  class Bound : public StreamCollective {
  public:
    Bound(const Launcher &launcher, const DeviceCommand &command)
        : launcher(launcher), command(command) {}
    Status run(const StreamRun &run) override {
      return launcher.launch(command, run.stream, run.followsKernel);
    }

  private:
    const Launcher &launcher;
    const DeviceCommand command;
  };

  const Launcher &launcher;
  const RankAddresses &addresses;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_KERNELCOLLECTIVES_H
