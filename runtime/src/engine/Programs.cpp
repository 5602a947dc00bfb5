#include "runtime/src/engine/Programs.h"

#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <set>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

const Program *findProgram(const Engine &engine, std::string_view name,
                           uint32_t stage) {
  for (const Program *program : *engine.programs())
    if (program->stage() == stage && name == program->name()->c_str())
      return program;
  return nullptr;
}

const Program &mainProgram(const Engine &engine, uint32_t stage) {
  return *findProgram(engine, kMainProgram, stage);
}

std::vector<const Program *> programsOf(const Engine &engine, uint32_t stage) {
  std::vector<const Program *> programs;
  for (const Program *program : *engine.programs())
    if (program->stage() == stage)
      programs.push_back(program);
  return programs;
}

std::vector<std::string> programNames(const Engine &engine) {
  std::vector<std::string> names;
  for (const Program *program : programsOf(engine, 0))
    names.push_back(program->name()->str());
  return names;
}

std::vector<const Entry *> entriesOf(const Engine &engine, uint32_t stage) {
  std::vector<const Entry *> entries;
  for (const Program *program : programsOf(engine, stage))
    entries.insert(entries.end(), program->entries()->begin(),
                   program->entries()->end());
  return entries;
}

uint64_t decodeRun(const Engine &engine, const Program &program) {
  uint64_t largest = 0;
  for (const Entry *entry : *program.entries())
    if (entry->phase() == Phase::DECODE)
      largest = std::max(largest, entry->tokens());
  return std::max<uint64_t>(1, largest / engine.limits()->max_batch());
}

uint64_t specTokens(const Engine &engine) {
  return findProgram(engine, kDraftProgram, 0)
             ? decodeRun(engine, mainProgram(engine, 0)) - 1
             : 0;
}

std::vector<const Weight *> weightsOf(const Engine &engine, uint32_t stage) {
  std::vector<const Weight *> weights;
  // Validation lets weights lie in one place only when they are one.
  std::set<std::pair<uint32_t, uint64_t>> places;
  for (const Program *program : programsOf(engine, stage))
    for (const Weight *weight : *program->weights())
      if (places.insert({weight->slice()->arena(), weight->slice()->offset()})
              .second)
        weights.push_back(weight);
  return weights;
}

std::vector<const State *> sequenceStatesOf(const Engine &engine,
                                            uint32_t stage) {
  std::vector<const State *> states;
  std::set<uint64_t> offsets; // of one arena; one that programs share is one
  for (const Program *program : programsOf(engine, stage))
    for (const State *state : *program->states())
      if (state->kind() == StateKind::SEQUENCE &&
          offsets.insert(state->slice()->offset()).second)
        states.push_back(state);
  return states;
}

std::vector<uint64_t> arenaBytesOf(const Engine &engine, uint32_t stage,
                                   const StateCounts &counts) {
  std::vector<uint64_t> bytes(engine.arenas()->size());
  auto add = [&](const Slice &slice) {
    uint64_t &end = bytes[slice.arena()];
    end = std::max(end, slice.offset() + spanBytes(slice));
  };
  for (const Program *program : programsOf(engine, stage)) {
    for (const Weight *weight : *program->weights())
      add(*weight->slice());
    for (const State *state : *program->states())
      add(*state->slice());
    for (const Entry *entry : *program->entries())
      for (const Slice *slice : *entry->slices())
        add(*slice);
  }
  for (uint32_t i = 0; i < bytes.size(); ++i)
    if (__builtin_mul_overflow(
            bytes[i], counts.of(engine.arenas()->Get(i)->kind()), &bytes[i]))
      bytes[i] = UINT64_MAX;
  return bytes;
}

std::string describe(const Program &program) {
  std::string name = program.name()->str();
  return "program " + (name == kMainProgram ? "" : "\"" + name + "\" ") +
         std::to_string(program.stage());
}

} // namespace saddle::engine
