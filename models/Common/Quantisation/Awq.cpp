// `"quant_method": "awq"`, as AutoAWQ saves it: int4 packed along the rows of a
// weight, which the file has as columns, in an order made for a kernel.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"bits", "[4]", "other integers are not implemented"},
    {"zero_point", "[true]",
     "AWQ weights without zero points are not "
     "implemented"},
    {"version", R"(["gemm", "GEMM"])",
     "other packings (gemv, marlin) are not implemented"},
};
static constexpr UnusedField unusedFields[] = {
    {"backend", "about another program's kernels"},
    {"do_fuse", "about another program's kernels"},
    {"fuse_max_seq_len", "about another program's kernels"},
    {"modules_to_fuse", "about another program's kernels"},
    {"exllama_config", "about another program's kernels"},
};

StorageFormat awq(int64_t group) {
  TensorLayout words;
  words.elements = Elements::UInt4;
  // Place i of a word holds value 0, 2, 4, 6, 1, 3, 5, 7.
  words.order = {0, 4, 1, 5, 2, 6, 3, 7};
  words.transposed = true;
  TensorLayout scales;
  scales.transposed = true;
  StorageFormat format;
  format.name = "AWQ int4";
  format.dtype = TensorDType::I32;
  format.tensor = "qweight";
  format.layout = words;
  format.companions = {{CompanionRole::Scale, "scales", TensorDType::F16, 1,
                        uint64_t(group), /*anyFloat=*/true, scales},
                       {CompanionRole::Zero, "qzeros", TensorDType::I32, 1,
                        uint64_t(group), /*anyFloat=*/false, words}};
  return format;
}

Formats readAwq(ConfigReader &quantization) {
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  for (const char *required : {"bits", "zero_point"})
    if (!quantization.isSet(required))
      quantization.failExpected(required, "a field that says what is stored");
  return awq(readGroupSize(quantization, "group_size"));
}

} // namespace saddle
