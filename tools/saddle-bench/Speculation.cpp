#include "tools/saddle-bench/Speculation.h"

#include <saddle/generate.h>

#include <cinttypes>

namespace saddle::tools {

/// That all rounds may give a sequence, if every drafted token is right, and
/// room for drafts behind them.
static uint64_t mostTokens(uint64_t rounds, uint64_t drafted) {
  return (rounds + kWarmUpSteps + 2) * (drafted + 1);
}

Status checkSpeculation(const saddle_engine_info_t &info, uint64_t batch,
                        uint64_t context, uint64_t rounds, uint64_t drafted) {
  if (drafted < 1 || drafted > info.spec_tokens)
    return makeError(StatusCode::InvalidArgument,
                     "--spec-tokens %" PRIu64
                     ": expected 1 to what the engine verifies, %" PRIu64
                     "; compile with --draft and --spec-tokens",
                     drafted, info.spec_tokens);
  return checkDecode(info, batch, context, mostTokens(rounds, drafted));
}

using GeneratorOwner = Owner<saddle_generator_t, saddle_generator_destroy>;

StatusOr<SpeculationResult>
measureSpeculation(saddle_session_t *session, const saddle_engine_info_t &info,
                   TokenRange range, uint64_t batch, uint64_t context,
                   uint64_t rounds, uint64_t drafted,
                   std::optional<double> acceptance) {
  saddle_listener_t silent = {};
  saddle_generator_t *raw = nullptr;
  SADDLE_RETURN_IF_ERROR(
      fromC(saddle_generator_create(session, &silent, &raw)));
  GeneratorOwner generator(raw);
  SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_speculate(raw, drafted)));
  if (acceptance)
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_generator_fix_acceptance(raw, *acceptance)));
  saddle_request_t request;
  saddle_request_init(&request);
  request.ignore_eos = 1;
  request.max_new_tokens = mostTokens(rounds, drafted);
  for (uint64_t i = 0; i < batch; ++i) {
    std::vector<int32_t> tokens = someTokens(i, context, range);
    request.tokens = tokens.data();
    request.num_tokens = tokens.size();
    uint64_t number = 0;
    SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_add(raw, &request, &number)));
  }

  saddle_timing_t before = {}, after = {}, start = {};
  std::vector<double> all, verify, draft;
  // The first step feeds the prompts.
  for (uint64_t i = 0; i < 1 + kWarmUpSteps + rounds; ++i) {
    saddle_generator_timing(raw, &before);
    if (i == 1 + kWarmUpSteps)
      start = before;
    double begin = now();
    SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_step(raw)));
    double seconds = now() - begin;
    saddle_generator_timing(raw, &after);
    if (i < 1 + kWarmUpSteps)
      continue;
    all.push_back(seconds);
    verify.push_back(after.decode_seconds - before.decode_seconds);
    draft.push_back(after.draft_seconds - before.draft_seconds);
  }
  auto verifications = double(after.verifications - start.verifications);
  auto accepted = double(after.accepted_tokens - start.accepted_tokens);
  SpeculationResult result{batch,
                           context,
                           rounds,
                           drafted,
                           acceptance,
                           distributionOf(all),
                           distributionOf(verify),
                           distributionOf(draft)};
  result.acceptance =
      accepted / double(after.drafted_tokens - start.drafted_tokens);
  result.acceptedLength = 1 + accepted / verifications;
  return result;
}

} // namespace saddle::tools
