// Files beside config.json in which tools say how weights are quantised.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_SIDEFILES_H
#define SADDLE_MODELS_COMMON_QUANTISATION_SIDEFILES_H

#include "models/Common/ConfigReader.h"

namespace saddle {

/// Makes the first such file of `folder` stand for `quantization_config` of
/// `config`, if that has none; else the file must agree with it in what both
/// say: the algorithm and the modules that stay unquantised. Errors: the file
/// is no JSON, or says something else.
Status readSideFiles(const std::string &folder, ConfigReader &config);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_SIDEFILES_H
