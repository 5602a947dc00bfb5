// The storage formats, one file each. Readers check every field of
// `quantization_config` but `quant_method`, which named them, and the modules
// that stay unquantised; errors stick in the reader.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H
#define SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H

#include "models/Common/Quantisation/Quantisation.h"

namespace saddle {

/// E4M3 with one F32 factor per 128 x 128 block; activations are quantised at
/// run time per token and block column.
StorageFormat fp8Blocks();
StorageFormat readFp8(ConfigReader &quantization);

/// E4M3 with one factor of any float type per row; activations are quantised at
/// run time per token.
StorageFormat fp8Channels();
StorageFormat readCompressedTensors(ConfigReader &quantization);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H
