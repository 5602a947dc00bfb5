// The storage formats, one file each. Readers check every field of
// `quantization_config` but `quant_method`, which named them, and the modules
// that stay unquantised; errors stick in the reader.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H
#define SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H

#include "models/Common/Quantisation/Quantisation.h"

namespace saddle {

/// E4M3 with one factor of any float type per 128 x 128 block; activations are
/// quantised at run time per token and block column.
StorageFormat fp8Blocks();
constexpr int64_t fp8BlockExtent = 128;
Formats readFp8(ConfigReader &quantization);

/// E4M3 with one factor of any float type per row; activations are quantised at
/// run time per token.
StorageFormat fp8Channels();

/// E4M3 with one factor for all; activations as in fp8Channels.
StorageFormat fp8Tensors();
/// Bytes with one factor of any float type per row; activations stay as they
/// are, and so they do with every format below.
StorageFormat int8Channels();
/// Pairs of E2M1 with an E4M3 factor for 16 columns, and one for all.
StorageFormat nvfp4();
/// Pairs of E2M1 with a power of two for 32 columns.
StorageFormat mxfp4();
/// Bytes that are E8M0, one for 32 columns.
CompanionFormat e8m0Scale(const char *tensor);
constexpr const char *activationsAsTheyAre =
    "activations are multiplied as they are";

/// Of compressed-tensors: as fp8Blocks, under its own name of the scales.
StorageFormat fp8ScaledBlocks();

/// Integers of compressed-tensors, packed in words of I32 along the columns.
struct PackedIntegers {
  int64_t bits = 4;  // 4 or 8
  int64_t group = 0; // columns that share a scale; 0: all
  bool symmetric = true;
};
StorageFormat packedIntegers(const PackedIntegers &shape);

Formats readCompressedTensors(ConfigReader &quantization);

/// Integers of GPTQ.
struct GptqShape {
  int64_t bits = 4;  // 4 or 8
  int64_t group = 0; // as PackedIntegers
  /// Zero points are stored less one.
  bool zerosLessOne = true;
};
StorageFormat gptq(const GptqShape &shape);
Formats readGptq(ConfigReader &quantization);

/// As ModelOpt names nvfp4(), and multiplies by the factor for all; and E4M3
/// with one factor, or with one for each row.
StorageFormat modelOptNvfp4();
StorageFormat modelOptFp8();
StorageFormat modelOptFp8Channels();
Formats readModelOpt(ConfigReader &quantization);

/// E4M3 with a power of two for 32 columns; ModelOpt has another name for it.
StorageFormat mxfp8();
StorageFormat modelOptMxfp8();
Formats readMxfp8(ConfigReader &quantization);

StorageFormat awq(int64_t group);
Formats readAwq(ConfigReader &quantization);

/// Of AMD's Quark: pairs of E2M1 with a power of two for 32 columns.
StorageFormat quarkMxfp4();
Formats readQuark(ConfigReader &quantization);

/// Of ModelSlim, int8Channels() with zero points that are zero.
StorageFormat modelSlimInt8();
Formats readModelSlim(ConfigReader &quantization);

/// Signed integers of FastDeploy, two to a byte, of a weight whose rows may be
/// rotated.
struct FastDeployShape {
  int64_t group = 0;       // as PackedIntegers
  int64_t rotated = 0;     // as WeightSpec
  bool activations = true; // their scales are stored beside
};
StorageFormat fastDeployInt4(const FastDeployShape &shape);
/// E4M3 with one factor, of a weight whose rows are rotated.
StorageFormat fastDeployFp8();
Formats readFastDeploy(ConfigReader &quantization);

/// Columns that share a scale, a required field; -1 in the file and 0 here for
/// all of them.
int64_t readGroupSize(ConfigReader &quantization, const char *key);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_FORMATS_H
