#include "tools/saddle-run/SelfTest.h"

#include "runtime/src/base/File.h"
#include "runtime/src/checkpoint/Checkpoint.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstring>

namespace saddle::tools {

std::vector<int32_t> fixedPrompt(const saddle_engine_info_t &info) {
  std::vector<int32_t> tokens;
  // A step that shares no factor with most sizes, so that ids are all over.
  constexpr uint64_t kStep = 7919;
  for (uint64_t i = 1; i <= std::min<uint64_t>(16, info.max_seq_len); ++i)
    tokens.push_back(int32_t(i * kStep % info.vocab_size));
  return tokens;
}

StatusOr<Continuation> runWithLogits(saddle_session_t *session,
                                     const saddle_engine_info_t &info,
                                     const std::vector<int32_t> &tokens) {
  saddle_request_t request;
  saddle_request_init(&request);
  request.max_new_tokens = 1;
  request.ignore_eos = 1;
  request.wants_logits = 1;
  saddle_timing_t timing = {};
  SADDLE_ASSIGN_OR_RETURN(std::vector<Continuation> found,
                          generate(
                              session, info, {tokens}, request,
                              /*specTokens=*/0, /*chain=*/1, [](int32_t) {},
                              timing));
  return std::move(found[0]);
}

template <typename T>
static Status readTensor(const InputFile &file, const TensorInfo &info,
                         std::vector<T> &values) {
  values.resize(info.bytes / sizeof(T));
  return file.read(info.offset, reinterpret_cast<uint8_t *>(values.data()),
                   info.bytes);
}

StatusOr<Golden> readGolden(const std::string &path,
                            const saddle_engine_info_t &info) {
  std::map<std::string, TensorInfo> tensors;
  SADDLE_RETURN_IF_ERROR(readSafetensorsHeader(path, 0, tensors));
  auto tokens = tensors.find("tokens"), logits = tensors.find("logits");
  if (tokens == tensors.end() || logits == tensors.end() ||
      tokens->second.dtype != TensorDType::I32 ||
      logits->second.dtype != TensorDType::F32 ||
      tokens->second.shape.size() != 1 || logits->second.shape.size() != 2)
    return makeError(StatusCode::InvalidArgument,
                     "%s: expected \"tokens\", I32 [n], and \"logits\", F32 "
                     "[positions, vocab], as --golden-out writes them",
                     path.c_str());
  uint64_t positions = logits->second.shape[0], vocab = logits->second.shape[1],
           count = tokens->second.shape[0];
  if (vocab != info.vocab_size || positions == 0 || count < positions ||
      count > positions + 1 || positions > info.max_seq_len)
    return makeError(StatusCode::Mismatch,
                     "%s: has %" PRIu64 " tokens and logits %s, expected at "
                     "most %" PRIu64 " positions of %" PRIu64
                     " logits, the engine's; it was written with another "
                     "engine",
                     path.c_str(), count,
                     formatShape(logits->second.shape).c_str(),
                     uint64_t(info.max_seq_len), uint64_t(info.vocab_size));
  Golden golden;
  golden.path = path;
  SADDLE_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  SADDLE_RETURN_IF_ERROR(readTensor(file, tokens->second, golden.tokens));
  SADDLE_RETURN_IF_ERROR(readTensor(file, logits->second, golden.logits));
  golden.tokens.resize(positions);
  for (int32_t token : golden.tokens)
    if (token < 0 || uint64_t(token) >= vocab)
      return makeError(StatusCode::DataLoss,
                       "%s: token %d is none of the vocabulary's %" PRIu64,
                       path.c_str(), token, vocab);
  for (float value : golden.logits)
    if (!std::isfinite(value))
      return makeError(StatusCode::DataLoss,
                       "%s: holds logits that are no finite numbers",
                       path.c_str());
  return golden;
}

Tolerance goldenTolerance(const saddle_engine_info_t &info) {
  if (std::strcmp(info.compute_dtype, "f32") == 0)
    return {1e-4, 0};
  return {8e-2, 1.0 / 3};
}

namespace {

/// The worst logit of one position.
struct RowError {
  double difference = -1;
  size_t at = 0; // in all logits
};

} // namespace

StatusOr<double> selfTest(saddle_session_t *session,
                          const saddle_engine_info_t &info,
                          const Golden &golden, Tolerance tolerance) {
  SADDLE_ASSIGN_OR_RETURN(Continuation found,
                          runWithLogits(session, info, golden.tokens));
  const std::vector<float> &logits = found.logits;
  if (logits.size() < golden.logits.size())
    return makeError(StatusCode::Internal,
                     "%s: the run ended after %zu of %zu logits",
                     golden.path.c_str(), logits.size(), golden.logits.size());
  const uint64_t vocab = info.vocab_size;
  float largest = 0;
  std::vector<RowError> rows(golden.tokens.size());
  for (size_t i = 0; i < golden.logits.size(); ++i) {
    largest = std::max(largest, std::fabs(golden.logits[i]));
    double difference = std::fabs(double(logits[i]) - golden.logits[i]);
    RowError &row = rows[i / vocab];
    if (!(difference <= row.difference)) // also when it is no number
      row = {std::isnan(difference) ? HUGE_VAL : difference, i};
  }
  std::sort(rows.begin(), rows.end(), [](const RowError &a, const RowError &b) {
    return a.difference > b.difference;
  });
  size_t exempt = size_t(tolerance.exempt * double(rows.size()));
  const RowError &worst =
      std::isinf(rows[0].difference) ? rows[0] : rows[exempt];
  double error = largest > 0 ? worst.difference / largest : worst.difference;
  if (error <= tolerance.bound)
    return error;
  return makeError(StatusCode::Mismatch,
                   "self-test: logits are not those of %s: the one of token "
                   "%" PRIu64 " at position %" PRIu64
                   " is %g, expected %g, a difference of %.2g of the largest, "
                   "expected at most %g; the weights are others, or this "
                   "machine computes something else",
                   golden.path.c_str(), uint64_t(worst.at % vocab),
                   uint64_t(worst.at / vocab), double(logits[worst.at]),
                   double(golden.logits[worst.at]), error, tolerance.bound);
}

} // namespace saddle::tools
