#include "tools/saddle-bench/Speculation.h"

#include <saddle/generate.h>

#include <algorithm>
#include <cinttypes>

namespace saddle::tools {

/// That all rounds may give a sequence, if every drafted token is right, and
/// room for drafts behind them. Of the first and the last chain a part counts.
static uint64_t mostTokens(uint64_t rounds, uint64_t drafted, uint64_t chain) {
  return (rounds + kWarmUpSteps + 2 * chain) * (drafted + 1);
}

Status checkSpeculation(const saddle_engine_info_t &info, uint64_t batch,
                        uint64_t context, uint64_t rounds, uint64_t drafted) {
  if (drafted < 1 || drafted > info.spec_tokens)
    return makeError(StatusCode::InvalidArgument,
                     "--spec-tokens %" PRIu64
                     ": expected 1 to what the engine verifies, %" PRIu64
                     "; compile with --draft and --spec-tokens",
                     drafted, info.spec_tokens);
  return checkDecode(info, batch, context,
                     mostTokens(rounds, drafted, /*chain=*/1));
}

using GeneratorOwner = Owner<saddle_generator_t, saddle_generator_destroy>;

StatusOr<SpeculationResult>
measureSpeculation(saddle_session_t *session, const saddle_engine_info_t &info,
                   TokenRange range, uint64_t batch, uint64_t context,
                   uint64_t rounds, uint64_t drafted, uint64_t chain,
                   std::optional<double> acceptance) {
  saddle_listener_t silent = {};
  saddle_generator_t *raw = nullptr;
  SADDLE_RETURN_IF_ERROR(
      fromC(saddle_generator_create(session, &silent, &raw)));
  GeneratorOwner generator(raw);
  SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_speculate(raw, drafted)));
  SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_chain(raw, chain)));
  if (acceptance)
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_generator_fix_acceptance(raw, *acceptance)));
  saddle_request_t request;
  saddle_request_init(&request);
  request.ignore_eos = 1;
  request.max_new_tokens =
      std::min(mostTokens(rounds, drafted, chain), info.max_seq_len - context);
  for (uint64_t i = 0; i < batch; ++i) {
    std::vector<int32_t> tokens = someTokens(i, context, range);
    request.tokens = tokens.data();
    request.num_tokens = tokens.size();
    uint64_t number = 0;
    SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_add(raw, &request, &number)));
  }

  // The first step feeds the prompts.
  SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_step(raw)));
  saddle_timing_t before = {}, after = {}, start = {};
  std::vector<double> all, verify, draft, device;
  uint64_t chained = 0;
  for (uint64_t warm = 0, timed = 0;
       timed < rounds && saddle_generator_live(raw) == batch;) {
    saddle_generator_timing(raw, &before);
    bool isTimed = warm >= kWarmUpSteps;
    if (isTimed && timed == 0)
      start = before;
    double begin = now();
    SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_step(raw)));
    double seconds = now() - begin;
    saddle_generator_timing(raw, &after);
    // Every token but the accepted ones is a round's own.
    uint64_t own = after.decode_tokens - before.decode_tokens -
                   (after.accepted_tokens - before.accepted_tokens);
    uint64_t count = own / batch;
    (isTimed ? timed : warm) += count;
    if (!isTimed)
      continue;
    auto perRound = double(count);
    all.push_back(seconds / perRound);
    verify.push_back((after.decode_seconds - before.decode_seconds) / perRound);
    draft.push_back((after.draft_seconds - before.draft_seconds) / perRound);
    if (count > 1)
      device.push_back(double(saddle_session_device_ns(session)) * 1e-9 /
                       perRound);
    chained = std::max(chained, count);
  }
  auto verifications = double(after.verifications - start.verifications);
  auto accepted = double(after.accepted_tokens - start.accepted_tokens);
  SpeculationResult result{batch,
                           context,
                           rounds,
                           drafted,
                           chained,
                           acceptance,
                           distributionOf(all),
                           distributionOf(verify),
                           distributionOf(draft),
                           distributionOf(device)};
  if (drafted == 0)
    return result;
  result.acceptance =
      accepted / double(after.drafted_tokens - start.drafted_tokens);
  result.acceptedLength = 1 + accepted / verifications;
  return result;
}

} // namespace saddle::tools
