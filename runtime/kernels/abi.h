// What the host and device code agree on: the one parameter that every emitted
// kernel takes, and the structures that it points to. Plain C++, no CUDA
// header: the runtime (host compiler) and the kernels (nvcc) include it.
//
// All kernels of an engine take `const __grid_constant__ LaunchParams`. Shapes
// and strides are constants of the emitted source; what differs between two
// launches of one kernel, between layers or between ranks, is here.

#ifndef SADDLE_RUNTIME_KERNELS_ABI_H
#define SADDLE_RUNTIME_KERNELS_ABI_H

#include <cstdint>

namespace saddle::device {

/// Attention replicas of a step, and ranks of a group, at most. Engines with
/// more are refused when they are loaded.
constexpr uint32_t kMaxReplicas = 64;
constexpr uint32_t kMaxGroup = 64;
/// Meetings of clusters within a kernel, at most.
constexpr uint32_t kMaxArrivals = 48;

constexpr uint32_t kMaxOperands = 16;
constexpr uint32_t kMaxRankValues = 4;
constexpr uint32_t kMaxReals = 2;

/// What a step is about, besides its inputs. It lies in front of the rank's io
/// arena, so that header and inputs are one copy per step.
struct alignas(256) Step {
  /// Rows by schema::Extent (runtime/schema/engine.fbs), as this rank sees
  /// them. A kernel works on the first counts[extent] rows of its operands; 0
  /// is legal and every launch happens.
  uint32_t counts[8];
  /// How long a kernel may wait for a peer, in nanoseconds of %globaltimer.
  uint64_t timeoutNs;
  uint32_t replicas;
  /// Token slots of each paged state: pages times page size. Page and slot
  /// numbers beyond are never followed.
  uint32_t slots;
  /// Tokens and logits rows of each attention replica.
  uint32_t tokens[kMaxReplicas];
  uint32_t rows[kMaxReplicas];
  /// For clusters of a kernel that meet: zero, and zero again behind it.
  uint32_t arrivals[kMaxArrivals];
};
static_assert(sizeof(Step) == 768, "the host copies this structure");

/// One partition of the ranks, as one member sees its group. Lives in device
/// memory, written when the engine is loaded.
struct Group {
  uint32_t size;
  uint32_t index; // of this rank in the group
  uint32_t rank;  // of this rank in the world
  uint32_t width; // ranks of an attention replica, tp / dp
  /// Members in the group's order.
  uint32_t ranks[kMaxGroup];
  uint32_t replicas[kMaxGroup]; // the attention replica of each member
  /// Adding peers[i] (bytes) to an address in this rank's transient, io or
  /// exchange arena gives the same place on member i; 0 for itself.
  int64_t peers[kMaxGroup];
};

/// Where kernels tell the host why they stopped waiting. Pinned host memory,
/// one for all ranks of a session; zero while all is well.
struct Fault {
  /// Set by the first kernel that gives up, or by the host. Waiting kernels
  /// look at it now and then and stop waiting when it is set.
  uint32_t raised;
  uint32_t rank;            // that gave up
  uint32_t peer;            // rank that it waited for
  uint32_t command;         // LaunchParams::command of the exchange
  uint32_t reason;          // FaultReason
  uint32_t expected, found; // epoch or count, by reason
};
enum FaultReason : uint32_t {
  kFaultNone = 0,
  kFaultTimeout = 1,  // the peer did not come to exchange number `expected`
  kFaultMismatch = 2, // the peer has another count of rows
  kFaultHost = 3,     // the host ended the step
  // The peer is at another command: `expected` and `found` are their numbers.
  kFaultElsewhere = 4,
};

struct LaunchParams {
  const Step *step;
  void *workspace; // of the launch; contents undefined before and after
  // Of a kernel that communicates, else null. `exchange` is memory at the same
  // place on every rank, zero when the engine is loaded and private to the
  // exchanges of this group.
  const Group *group;
  void *exchange;
  Fault *fault;
  uint32_t command; // its number in the entry, for Fault
  uint32_t reserved;
  /// RANK attributes of the kernel, in the order of its attributes.
  uint64_t rankValues[kMaxRankValues];
  /// Inputs, then outputs, in the order of the op's signature.
  void *operands[kMaxOperands];
  /// The first FLOAT attributes of the kernel, in the order of its attributes:
  /// for those that differ from layer to layer, so that layers share code.
  double reals[kMaxReals];
};

/// The kernel of synthetic weights, by its name in an engine. Its number
/// changes with SyntheticPiece (runtime/kernels/synthetic.h): a
/// runtime that finds no kernel of its own number makes weights on the host.
constexpr const char kSyntheticKernel[] = "synthetic_weights_2";

/// The kernel behind the steps of a chain (runtime/kernels/chain.h), likewise:
/// its number changes with that header's structures, and a runtime that finds
/// none of its own number leaves the host between steps.
constexpr const char kChainKernel[] = "chain_steps_1";

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_ABI_H
