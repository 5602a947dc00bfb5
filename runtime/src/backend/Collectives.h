// Who does the communication of commands: kernels of the engine, NCCL, the
// host's transport. Chosen for each collective and transfer when the program of
// a rank is resolved; what runs them knows no providers.

#ifndef SADDLE_RUNTIME_BACKEND_COLLECTIVES_H
#define SADDLE_RUNTIME_BACKEND_COLLECTIVES_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <memory>

namespace saddle::backend {

/// A collective or transfer of an entry on one rank.
struct CollectiveSite {
  const schema::Engine &engine;
  const schema::Entry &entry;
  uint32_t number; // of the command in the entry
  uint32_t rank;
  Span<const View> slices; // the entry's, in the target's memory

  const schema::Command &command() const {
    return *entry.commands()->Get(number);
  }
};

/// One that a provider has resolved. `Run` is what the target knows of a run.
template <typename Run>
class BoundCollective {
public:
  virtual ~BoundCollective() = default;
  virtual Status run(const Run &run) = 0;
};

template <typename Run>
class CollectiveProvider {
public:
  virtual ~CollectiveProvider() = default;

  /// What reports say that runs a command; null: the engine's kernel for it,
  /// which may overlap with kernels around it.
  virtual const char *name() const { return nullptr; }
  /// What a rank may wait in without saying so ("an all-reduce of NCCL"); null:
  /// nothing.
  virtual const char *silentWait() const { return nullptr; }

  /// Whether it does this collective or transfer: the same on every rank.
  virtual bool takes(const schema::Entry &entry,
                     const schema::Command &command) const = 0;
  /// Resolves one that it takes. The site's engine outlives the result, and so
  /// does the provider.
  virtual std::unique_ptr<BoundCollective<Run>>
  bind(const CollectiveSite &site) = 0;

  /// Ends what waits on any rank of this process. Any thread.
  virtual void abort() {}
};

/// Whether `command` is one for providers.
inline bool isForProviders(const schema::Command &command) {
  return command.action_as_Collective() || command.action_as_Transfer();
}

/// The first that takes `command`; null when none does.
template <typename Run>
CollectiveProvider<Run> *
providerOf(Span<CollectiveProvider<Run> *const> providers,
           const schema::Entry &entry, const schema::Command &command) {
  for (CollectiveProvider<Run> *provider : providers)
    if (isForProviders(command) && provider->takes(entry, command))
      return provider;
  return nullptr;
}

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_COLLECTIVES_H
