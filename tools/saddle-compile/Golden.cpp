#include "tools/saddle-compile/Golden.h"

#include "tools/saddle-run/LogitsFile.h"
#include "tools/saddle-run/SelfTest.h"

#include <algorithm>
#include <filesystem>

namespace saddle::tools {

Status checkGolden(const CompileOptions &options) {
  std::error_code ignored;
  if (options.compileTo || options.compileFrom)
    return makeError(StatusCode::InvalidArgument,
                     "--golden needs a compilation from a model to an engine");
  if (!std::filesystem::is_directory(options.input, ignored))
    return makeError(StatusCode::InvalidArgument,
                     "--golden needs the weights of the model, but \"%s\" is "
                     "no folder",
                     options.input.c_str());
  return {};
}

static Status runOracle(const std::string &enginePath,
                        const std::string &weights, const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(EngineOwner engine, loadEngine(enginePath));
  saddle_engine_info_t info;
  saddle_engine_info(engine.get(), &info);
  saddle_session_options_t sessionOptions;
  saddle_session_options_init(&sessionOptions);
  SADDLE_ASSIGN_OR_RETURN(SessionOwner session,
                          createSession(engine.get(), weights, sessionOptions));
  SADDLE_ASSIGN_OR_RETURN(Continuation found, runWithLogits(session.get(), info,
                                                            fixedPrompt(info)));
  SADDLE_RETURN_IF_ERROR(
      tapLayers(session.get(), info, fixedPrompt(info), found));
  return writeLogits(path, {found}, info.vocab_size);
}

Status writeGolden(const CompileOptions &options, const std::string &path) {
  CompileOptions oracle;
  oracle.input = options.input;
  oracle.output = path + ".oracle.saddle";
  // The default target is the oracle.
  oracle.layers = options.layers;
  oracle.buckets = {1};
  oracle.build.computeDType = TensorDType::F32;
  oracle.build.kvDType = options.build.kvDType == TensorDType::F8E4M3
                             ? TensorDType::F8E4M3
                             : TensorDType::F32;
  oracle.build.limits.maxBatch = 1;
  oracle.build.limits.maxSeqLen =
      std::min<int64_t>(options.build.limits.maxSeqLen, 32);
  if (!compile(oracle))
    return makeError(StatusCode::Internal,
                     "the oracle of --golden could not be compiled");
  Status status = runOracle(oracle.output, options.input, path);
  std::error_code ignored;
  std::filesystem::remove(oracle.output, ignored);
  return status;
}

} // namespace saddle::tools
