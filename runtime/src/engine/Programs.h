// Programs by name and stage, what lies in a rank's memory for them, and the
// checkpoints that their weights come from. For validated engines.

#ifndef SADDLE_RUNTIME_ENGINE_PROGRAMS_H
#define SADDLE_RUNTIME_ENGINE_PROGRAMS_H

#include "runtime/src/engine/States.h"

#include <string>
#include <string_view>
#include <vector>

namespace saddle::engine {

/// The program that sessions run. Every engine has it; its stages come first.
constexpr const char *kMainProgram = "main";
/// The program that drafts tokens for the main one, if there is one.
constexpr const char *kDraftProgram = "draft";
/// The first checkpoint of every engine: that of the model itself.
constexpr const char *kMainCheckpoint = "main";

/// The stage of the program of that name; null when there is none.
const schema::Program *findProgram(const schema::Engine &engine,
                                   std::string_view name, uint32_t stage);

/// That of kMainProgram.
const schema::Program &mainProgram(const schema::Engine &engine,
                                   uint32_t stage);

/// All programs that the ranks of a stage hold, in the file's order.
std::vector<const schema::Program *> programsOf(const schema::Engine &engine,
                                                uint32_t stage);

/// Their names, the main one first. Programs are numbered so.
std::vector<std::string> programNames(const schema::Engine &engine);

/// The entries of all programs of a stage, in the file's order: batches number
/// them so. Every stage has the same.
std::vector<const schema::Entry *> entriesOf(const schema::Engine &engine,
                                             uint32_t stage);

/// Tokens of one sequence that a decode entry takes: all max_batch sequences
/// may have so many. 1 unless the program verifies drafts.
uint64_t decodeRun(const schema::Engine &engine,
                   const schema::Program &program);

/// Tokens that are drafted for a sequence at most; 0 without a draft program.
uint64_t specTokens(const schema::Engine &engine);

/// The weights of all programs of a stage. One that several programs share
/// stands here once.
std::vector<const schema::Weight *> weightsOf(const schema::Engine &engine,
                                              uint32_t stage);

/// The states of sequences of all programs of a stage.
std::vector<const schema::State *>
sequenceStatesOf(const schema::Engine &engine, uint32_t stage);

/// Bytes of each arena that a rank of a stage needs for all its programs: up to
/// the end of the last slice, of so many units of state. The largest number
/// when that does not fit in 64 bits.
std::vector<uint64_t> arenaBytesOf(const schema::Engine &engine, uint32_t stage,
                                   const StateCounts &counts = {});

/// "program 1", or "program "draft" 1" for another one than the main program:
/// name and stage, for messages.
std::string describe(const schema::Program &program);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_PROGRAMS_H
