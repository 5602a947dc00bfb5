// Semantic validation: proves before anything runs what the executor and the
// weight loader rely on. Works on a FlatBuffer that its verifier has accepted;
// every number in it is still untrusted.
//
// Errors are DataLoss (an engine that contradicts itself) or Unsupported, and
// name the place inside the engine, not the file.

#ifndef SADDLE_RUNTIME_ENGINE_VALIDATE_H
#define SADDLE_RUNTIME_ENGINE_VALIDATE_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <cinttypes>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace saddle::engine {

/// More ranks than any machine has; keeps per-rank checks cheap.
constexpr uint64_t kMaxRanks = 4096;

/// The whole validation, in the order of docs/EngineFormat.md. `segments` are
/// the file's.
Status validate(const schema::Engine &engine, Bytes segments);

//===--- Its parts -------------------------------------------------------===//

/// Target, dtypes, topology, limits.
Status validateFacts(const schema::Engine &engine);
/// Whether the engine's kernels run on a device, as functions of its modules.
bool isDeviceTarget(const schema::Engine &engine);
/// Modules lie in `segments` and are whole.
Status validateModules(const schema::Engine &engine, Bytes segments);
/// The functions of a kernel, after validateModules.
Status validateFunctions(const schema::Engine &engine,
                         const schema::Kernel &kernel);
/// Arenas, sources, kernels, rank groups: what programs refer to; after
/// validateModules.
Status validateTables(const schema::Engine &engine);
/// The weights of `program`: recipes and destinations.
Status validateWeights(const schema::Engine &engine,
                       const schema::Program &program);
/// Weights of several programs that ranks hold together, after each is valid:
/// they share no byte or are the same.
Status validateSharedWeights(const schema::Engine &engine);
/// What collectives ask of the groups of a RankGroups: worked out once for
/// each, since thousands of commands ask for thousands of ranks.
struct GroupFacts {
  bool inOneReplica = true;  // each in one attention replica
  bool areReplicas = true;   // as its ranks in order, from any first one on
  bool crossReplicas = true; // member i of each is of replica i
};
std::vector<GroupFacts> groupFactsOf(const schema::Engine &engine);
/// The entries of `program`: slices, bindings, commands. `groups` are
/// groupFactsOf() the engine.
Status validateEntries(const schema::Engine &engine,
                       const schema::Program &program,
                       const std::vector<GroupFacts> &groups);
/// One row layout for each extent of an entry whose collectives are valid.
Status validateLayouts(const schema::Entry &entry);
/// The stages of each program against each other, after each is valid: the same
/// entries in the same order, and a receive for every send.
Status validateStages(const schema::Engine &engine);
/// Exchange memory of all programs, after each is valid: one block for each
/// partition of the ranks, and they do not overlap.
Status validateExchanges(const schema::Engine &engine);
/// Every source that is not ignored is read by some weight; after
/// validateWeights.
Status validateSourcesAreRead(const schema::Engine &engine);
/// One command of `entry`, whose slices are valid.
Status validateCommand(const schema::Engine &engine,
                       const schema::Program &program,
                       const schema::Entry &entry,
                       const schema::Command &command,
                       const std::vector<GroupFacts> &groups);

//===--- Shared helpers --------------------------------------------------===//

/// Ranks of a pipeline stage: [first, first + count).
struct StageRanks {
  uint32_t first;
  uint32_t count;
};
StageRanks ranksOf(const schema::Engine &engine,
                   const schema::Program &program);

/// Divisor and modulus of 1 or more, and no rank overflows.
Status validateRankValue(const schema::RankValue *value, uint64_t worldSize);

/// The FlatBuffers verifier aligns a vector's length, but not its 8-byte
/// elements. Call before the first look at a vector of uint64.
Status checkAligned(const flatbuffers::Vector<uint64_t> &dims);

/// The states of `program`: units, dense, disjoint.
Status validateStates(const schema::Engine &engine,
                      const schema::Program &program);
/// Programs of a stage, which lie in the same arenas, have states of their own.
Status validateStagesStates(const schema::Engine &engine);
/// The valid states of a program by where they lie.
class StatePlaces {
public:
  explicit StatePlaces(const schema::Program &program);
  /// A valid slice in an arena of state is one of the states.
  Status check(const schema::Engine &engine, const schema::Slice &slice) const;

private:
  std::map<std::pair<uint32_t, uint64_t>, const schema::Slice *> places;
};

/// Shape, strides, arena range, alignment of one slice.
Status validateSlice(const schema::Engine &engine, const schema::Slice &slice);

/// Bytes from a valid slice's first to behind its last element.
uint64_t spanBytes(const schema::Slice &slice);

/// A valid slice without data.
View viewOf(const schema::Slice &slice);

/// "PLACE: message" with the same code; success stays success.
Status prefix(const std::string &place, const Status &status);

/// `"NAME"` of a table, for messages.
template <typename Table>
std::string quoted(const Table &table) {
  return "\"" + table.name()->str() + "\"";
}

/// "[4, 16]"
std::string formatDims(const flatbuffers::Vector<uint64_t> &dims);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_VALIDATE_H
