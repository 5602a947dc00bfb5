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

namespace {

/// Keeps what experts of each layer read last, while it lives.
class Taps {
public:
  explicit Taps(saddle_session_t *session) : session(session) {
    saddle_session_set_trace(session, record, this);
  }
  ~Taps() { saddle_session_set_trace(session, nullptr, nullptr); }

  /// By place, in the order of the model.
  std::vector<std::pair<std::string, std::vector<float>>> layers;

private:
  static void record(void *user, const saddle_trace_event_t *event) {
    if (!event->hidden)
      return;
    auto &layers = static_cast<Taps *>(user)->layers;
    std::string place = event->location;
    auto found = std::find_if(layers.begin(), layers.end(), [&](auto &layer) {
      return layer.first == place;
    });
    if (found == layers.end())
      found = layers.insert(layers.end(), {place, {}});
    found->second.assign(event->hidden, event->hidden + event->hidden_columns);
  }
  saddle_session_t *session;
};

} // namespace

Status tapLayers(saddle_session_t *session, const saddle_engine_info_t &info,
                 const std::vector<int32_t> &tokens, Continuation &to) {
  Taps taps(session);
  SADDLE_RETURN_IF_ERROR(runWithLogits(session, info, tokens).status());
  to.hidden.clear();
  to.layers.clear();
  for (const auto &[place, values] : taps.layers) {
    to.layers.push_back(place);
    to.hidden.insert(to.hidden.end(), values.begin(), values.end());
  }
  return {};
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
  if (auto hidden = tensors.find("hidden");
      hidden != tensors.end() && hidden->second.dtype == TensorDType::F32 &&
      hidden->second.shape.size() == 2) {
    golden.layers = hidden->second.shape[0];
    SADDLE_RETURN_IF_ERROR(readTensor(file, hidden->second, golden.hidden));
  }
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

/// The first layer whose experts read something else, for a message; empty
/// where nobody knows.
static std::string firstOtherLayer(saddle_session_t *session,
                                   const saddle_engine_info_t &info,
                                   const Golden &golden, double bound) {
  Continuation found;
  if (golden.layers == 0 ||
      !tapLayers(session, info, golden.tokens, found).ok() ||
      found.layers.size() != golden.layers ||
      found.hidden.size() != golden.hidden.size())
    return "";
  size_t columns = golden.hidden.size() / golden.layers;
  for (size_t layer = 0; layer < golden.layers; ++layer) {
    double difference = 0, size = 0;
    for (size_t i = layer * columns; i < (layer + 1) * columns; ++i) {
      double error = double(found.hidden[i]) - golden.hidden[i];
      difference += error * error;
      size += double(golden.hidden[i]) * golden.hidden[i];
    }
    if (!(difference <= bound * bound * size))
      return "; the first layer that differs is at \"" + found.layers[layer] +
             "\", or the experts before it";
  }
  return "; what experts read agrees in all layers";
}

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
  return makeError(
      StatusCode::Mismatch,
      "self-test: logits are not those of %s: the one of token "
      "%" PRIu64 " at position %" PRIu64
      " is %g, expected %g, a difference of %.2g of the largest, "
      "expected at most %g; the weights are others, or this "
      "machine computes something else%s",
      golden.path.c_str(), uint64_t(worst.at % vocab),
      uint64_t(worst.at / vocab), double(logits[worst.at]),
      double(golden.logits[worst.at]), error, tolerance.bound,
      firstOtherLayer(session, info, golden, tolerance.bound).c_str());
}

} // namespace saddle::tools
