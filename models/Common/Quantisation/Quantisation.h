// How a checkpoint's weights are stored: `quantization_config` of config.json,
// read into data. A storage format is one file beside this one and one line in
// Quantisation.cpp.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_QUANTISATION_H
#define SADDLE_MODELS_COMMON_QUANTISATION_QUANTISATION_H

#include "models/Common/Quantisation/ModuleNames.h"
#include "models/Common/WeightSpec.h"

#include <optional>

namespace saddle {

/// One companion of every weight of a format: the module's tensor of that name,
/// one element of which serves a block of the weight. A block extent of 0 is
/// the weight's whole extent.
struct CompanionFormat {
  CompanionRole role;
  const char *tensor;
  TensorDType dtype;
  uint64_t blockRows, blockColumns;
  /// A checkpoint may store F32, BF16 or F16 instead.
  bool anyFloat = false;
  TensorLayout layout = {};
  int64_t plus = 0;     // as Companion
  bool divides = false; // as Companion
  /// Dimensions of a single number, of which a checkpoint may have others, or 1
  /// of one number for each row.
  unsigned rank = 2;
  int64_t over = 0; // as Companion
};

/// A tensor beside a weight that says nothing new.
struct RedundantTensor {
  enum Shape {
    Single, // one number
    Pair,   // [2]
    Groups, // one for each column of the weight: the number of its group
    Rows    // [rows, 1]
  };
  const char *tensor;
  TensorDType dtype;
  Shape shape;
  const char *reason;
  bool anyFloat = false; // as CompanionFormat
  bool zero = false;     // as IgnoredWeight
};

/// How a quantised matrix [rows, columns] lies in a checkpoint.
struct StorageFormat {
  const char *name; // for messages: "FP8"
  TensorDType dtype;
  std::vector<CompanionFormat> companions;
  const char *tensor = "weight"; // of the module
  TensorLayout layout = {};
  int64_t offset = 0; // as WeightSpec
  std::vector<RedundantTensor> redundant = {};
  int64_t plus = 0, rotated = 0; // as WeightSpec
  bool anyByte = false;          // as WeightSpec
};

/// Modules that are stored otherwise than the rest.
struct FormatGroup {
  std::string field; // that says so, for messages
  ModuleNames modules;
  StorageFormat format;
};

/// What a method says: how modules are stored, and which are stored otherwise.
struct Formats {
  Formats() = default;
  Formats(StorageFormat format) : format(std::move(format)) {}

  /// Of modules that no group names; absent: they are stored as their values.
  std::optional<StorageFormat> format;
  std::vector<FormatGroup> groups;
};

struct Quantisation : Formats {
  /// `quant_method`, for messages; empty when all weights are stored as their
  /// values.
  std::string method;
  /// Modules that stay unquantised, and the field that lists them.
  ModuleNames unconverted;
  const char *unconvertedField = "modules_to_not_convert";
  /// For the tool it matters whether `unconverted` or a group stands first;
  /// else `unconverted` goes before all groups.
  bool firstDecides = false;

  /// Scales of an fp8 cache are said to be stored.
  bool cacheScales = false;

  explicit operator bool() const { return !method.empty(); }

  /// The format of a projection's weight, or null when it is stored as its
  /// values. The one place that decides it. Errors: only some members of a
  /// stack are named in `unconverted` or a group, two groups name it;
  /// `configPath` begins the message. `members` are those of a stack.
  StatusOr<const StorageFormat *> formatOf(const std::string &module,
                                           const std::string &configPath,
                                           uint64_t members = 1) const;
};

/// Turns a spec of values, of shape [rows, columns], into one of `format`.
void store(const StorageFormat &format, WeightSpec &spec);

/// Reads `quantization_config`; absent means no quantisation. Errors stick in
/// the reader: an unknown method, and whatever the method's format refuses.
/// Unknown fields are added to `warnings`.
Quantisation readQuantisation(ConfigReader &reader,
                              std::vector<std::string> &warnings);

/// All formats that readQuantisation can return: what a stray companion in a
/// folder may belong to.
const std::vector<StorageFormat> &knownFormats();

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_QUANTISATION_H
