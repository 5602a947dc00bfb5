#include "models/Common/TensorAccounting.h"

#include "runtime/src/base/File.h"

#include <algorithm>
#include <cstdarg>
#include <unordered_set>

namespace saddle {

namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// Length of the number that `text` begins with; 0 when it is none in range.
size_t matchNumber(std::string_view text, int64_t first, int64_t last) {
  constexpr size_t maxDigits = 18; // all of them fit
  size_t digits = 0;
  int64_t value = 0;
  for (; digits < text.size() && isDigit(text[digits]); ++digits) {
    if (digits == maxDigits)
      return 0;
    value = value * 10 + (text[digits] - '0');
  }
  return value >= first && value <= last ? digits : 0;
}

bool matchPattern(std::string_view pattern, std::string_view name,
                  const IgnoreRule &rule) {
  for (; !pattern.empty(); pattern.remove_prefix(1), name.remove_prefix(1)) {
    if (pattern.front() == '*') {
      for (size_t skip = 0; skip <= name.size(); ++skip)
        if (matchPattern(pattern.substr(1), name.substr(skip), rule))
          return true;
      return false;
    }
    if (pattern.substr(0, 2) == "{}") {
      size_t digits = matchNumber(name, rule.first, rule.last);
      return digits &&
             matchPattern(pattern.substr(2), name.substr(digits), rule);
    }
    if (name.empty() || name.front() != pattern.front())
      return false;
  }
  return name.empty();
}

bool holdsValues(TensorDType dtype) {
  return dtype == TensorDType::F32 || dtype == TensorDType::BF16 ||
         dtype == TensorDType::F16;
}

/// A dtype that only quantised weights have.
bool holdsCodes(TensorDType dtype) {
  for (const StorageFormat &format : knownFormats())
    if (format.dtype == dtype)
      return true;
  return false;
}

/// Of a tensor of `spec`, with its bytes called what they are.
TensorInfo named(const TensorInfo &info, const WeightSpec &spec) {
  TensorInfo result = info;
  if (spec.anyByte &&
      (info.dtype == TensorDType::I8 || info.dtype == TensorDType::U8))
    result.dtype = spec.dtype;
  return result;
}

bool isOne(const std::vector<uint64_t> &shape) {
  return std::all_of(shape.begin(), shape.end(),
                     [](uint64_t dim) { return dim == 1; });
}

std::string quoted(const std::string &name) { return "\"" + name + "\""; }

std::string more(uint64_t count) {
  return count > 1 ? "; and " + std::to_string(count - 1) + " more" : "";
}

/// With the name that the file has for it, if that is another.
std::string found(const TensorInfo &info) {
  std::string dtype =
      info.dtype == TensorDType::Other ? info.dtypeName : dtypeName(info.dtype);
  return info.partOf.empty() ? dtype
                             : dtype + " (in " + quoted(info.partOf) + ")";
}

/// Tensors of layouts that others write, by a part of their names.
struct ForeignLayout {
  const char *part, *what;
};
constexpr ForeignLayout kForeignLayouts[] = {
    {".switch_mlp.",
     "a name of MLX; use the checkpoint that it was converted from"},
    {"blk.", "a name of GGUF; use the checkpoint that it was converted from"},
    {".lora_", "which is part of an adapter; merge it into its model first"},
};

/// Whether a tensor of that name holds a module's weight in some format.
bool namesWeight(const std::string &name) {
  const std::string leaf = name.substr(name.rfind('.') + 1);
  for (const StorageFormat &format : knownFormats())
    if (leaf == format.tensor)
      return true;
  return false;
}

/// Whether some format has that companion beside weights of that dtype.
bool belongsTo(const std::string &companion, TensorDType dtype) {
  for (const StorageFormat &format : knownFormats())
    for (const CompanionFormat &each : format.companions)
      if (each.tensor == companion && format.dtype == dtype)
        return true;
  return false;
}

class Accountant {
public:
  Accountant(const Checkpoint &checkpoint, const AccountingRules &rules)
      : checkpoint(checkpoint), rules(rules) {}

  Status run(ModelWeights &weights) {
    for (ModelWeight &weight : weights.optional)
      if (find(weight.spec.name))
        weights.adopt(std::move(weight));
    weights.optional.clear();
    for (ModelWeight &weight : weights.used)
      SADDLE_RETURN_IF_ERROR(match(weight.spec));
    for (IgnoredWeight &weight : weights.ignored)
      SADDLE_RETURN_IF_ERROR(matchUnread(weight));
    if (missing)
      return fail(StatusCode::NotFound, "tensor %s is missing, expected %s%s%s",
                  quoted(firstMissing).c_str(), expectedOfMissing.c_str(),
                  more(missing).c_str(), foreignTensor().c_str());
    return sortOthers(weights);
  }

private:
  Status match(WeightSpec &spec) {
    const TensorDType expected = spec.dtype;
    for (uint64_t member = 0; member < spec.members(); ++member) {
      std::string name = memberName(spec.name, member);
      const TensorInfo *weight = take(name);
      TensorInfo bytes;
      if (weight && spec.anyByte)
        weight = &(bytes = named(*weight, spec));
      SADDLE_RETURN_IF_ERROR(refuseStrayCompanions(spec, name, weight));
      SADDLE_RETURN_IF_ERROR(refuseOtherForms(spec, name, weight));
      if (!weight) {
        noteMissing(name, expected, spec);
        continue;
      }
      SADDLE_RETURN_IF_ERROR(matchCompanions(spec, name, *weight, member));
      if (isOne(spec.shape) && isOne(weight->shape))
        spec.shape = weight->shape; // tools write [], [1] or [1, 1]
      // Values in place of codes have other shapes because of that.
      if (!spec.isQuantised() || !holdsValues(weight->dtype))
        SADDLE_RETURN_IF_ERROR(checkShape(name, *weight, spec.shape));
      SADDLE_RETURN_IF_ERROR(checkDType(spec, expected, name, *weight));
      if (member == 0)
        spec.dtype = weight->dtype;
      else if (spec.dtype != weight->dtype)
        return fail(StatusCode::Unsupported,
                    "tensor %s is %s, but %s is %s; all experts of a layer "
                    "must be stored alike",
                    quoted(name).c_str(), found(*weight).c_str(),
                    quoted(memberName(spec.name, 0)).c_str(),
                    dtypeName(spec.dtype));
    }
    return Status();
  }

  /// Not read, but as its format has it where it is there.
  Status matchUnread(IgnoredWeight &weight) {
    WeightSpec &spec = weight.spec;
    for (uint64_t member = 0; member < spec.members(); ++member) {
      std::string name = memberName(spec.name, member);
      const TensorInfo *info = take(name);
      if (!info)
        continue;
      if (!isOne(spec.shape) || !isOne(info->shape))
        SADDLE_RETURN_IF_ERROR(checkShape(name, *info, spec.shape));
      if (member == 0 && weight.anyFloat && holdsValues(info->dtype))
        spec.dtype = info->dtype;
      if (info->dtype != spec.dtype)
        return fail(StatusCode::Unsupported, "tensor %s is %s, expected %s",
                    quoted(name).c_str(), found(*info).c_str(),
                    dtypeName(spec.dtype));
    }
    return Status();
  }

  /// What `spec` is in the config's words: "int4 groups".
  std::string declared(const WeightSpec &spec) const {
    if (!spec.isQuantised())
      return rules.quantisation ? " keeps this module unquantised"
                                : " has no quantization_config";
    StatusOr<const StorageFormat *> format = rules.quantisation.formatOf(
        moduleName(spec.name), rules.configPath, spec.members());
    return std::string(" declares ") +
           (format.ok() && *format ? (*format)->name : "quantised") +
           " weights (quantization_config)";
  }

  /// The module's weight under the name that it has in another format.
  Status refuseOtherForms(const WeightSpec &spec, const std::string &name,
                          const TensorInfo *weight) {
    if (!namesWeight(name))
      return Status();
    for (const StorageFormat &format : knownFormats()) {
      std::string other = moduleName(name) + "." + format.tensor;
      const TensorInfo *info = other == name ? nullptr : find(other);
      if (!info)
        continue;
      if (weight)
        return fail(StatusCode::Mismatch,
                    "tensors %s and %s both claim to be one weight; %s%s",
                    quoted(name).c_str(), quoted(other).c_str(),
                    rules.configPath.c_str(), declared(spec).c_str());
      std::string orUnconverted;
      if (spec.isQuantised() && holdsValues(info->dtype))
        orUnconverted = std::string(", or the module in ") +
                        rules.quantisation.unconvertedField;
      return fail(
          StatusCode::Mismatch, "tensor %s is %s, but %s%s; expected %s%s",
          quoted(other).c_str(), found(*info).c_str(), rules.configPath.c_str(),
          declared(spec).c_str(), quoted(name).c_str(), orUnconverted.c_str());
    }
    return Status();
  }

  /// A companion needs a weight of its format, whatever the config says.
  Status refuseStrayCompanions(const WeightSpec &spec, const std::string &name,
                               const TensorInfo *weight) {
    for (const StorageFormat &format : knownFormats())
      for (const CompanionFormat &companion : format.companions) {
        // Formats that call their weights otherwise may share a name with it.
        if (moduleName(name) + "." + format.tensor != name ||
            (spec.isQuantised() && spec.dtype != format.dtype))
          continue;
        std::string companionName = moduleName(name) + "." + companion.tensor;
        if (!find(companionName))
          continue;
        if (!weight)
          return fail(StatusCode::DataLoss,
                      "%s %s is present, but its weight %s is missing",
                      roleName(companion.role), quoted(companionName).c_str(),
                      quoted(name).c_str());
        if (!belongsTo(companion.tensor, weight->dtype))
          return fail(StatusCode::DataLoss,
                      "%s %s is present, but its weight %s is %s, not %s",
                      roleName(companion.role), quoted(companionName).c_str(),
                      quoted(name).c_str(), found(*weight).c_str(),
                      dtypeName(format.dtype));
      }
    return Status();
  }

  Status matchCompanions(WeightSpec &spec, const std::string &name,
                         const TensorInfo &weight, uint64_t member) {
    for (Companion &companion : spec.companions) {
      std::string companionName = memberName(companion.name, member);
      const TensorInfo *info = take(companionName);
      if (!info && weight.dtype != spec.dtype)
        continue; // checkDType explains the weight
      std::string role = roleName(companion.role);
      std::string expected = dtypeName(companion.dtype);
      if (!info)
        return fail(StatusCode::DataLoss,
                    "tensor %s is %s, but its %s %s is missing, expected %s %s",
                    quoted(name).c_str(), found(weight).c_str(), role.c_str(),
                    quoted(companionName).c_str(), expected.c_str(),
                    formatShape(companion.shape).c_str());
      if (member == 0 && isSameLine(info->shape, companion.shape))
        companion.shape = info->shape;
      SADDLE_RETURN_IF_ERROR(checkShape(companionName, *info, companion.shape));
      if (member == 0 && companion.anyFloat && holdsValues(info->dtype))
        companion.dtype = info->dtype;
      if (info->dtype != companion.dtype)
        return fail(StatusCode::Unsupported, "%s %s is %s, expected %s",
                    role.c_str(), quoted(companionName).c_str(),
                    found(*info).c_str(), expected.c_str());
    }
    return Status();
  }

  Status checkShape(const std::string &name, const TensorInfo &info,
                    const std::vector<uint64_t> &shape) {
    if (info.shape == shape)
      return Status();
    return fail(StatusCode::Mismatch,
                "tensor %s has shape %s, the config asks for %s",
                quoted(name).c_str(), formatShape(info.shape).c_str(),
                formatShape(shape).c_str());
  }

  Status checkDType(const WeightSpec &spec, TensorDType expected,
                    const std::string &name, const TensorInfo &info) {
    const std::string tensor = quoted(name), is = found(info);
    if (expected == TensorDType::I64) // a table
      return info.dtype == expected ? Status()
                                    : fail(StatusCode::Unsupported,
                                           "tensor %s is %s, expected i64",
                                           tensor.c_str(), is.c_str());
    if (spec.isQuantised()) {
      if (info.dtype == expected)
        return Status();
      if (!holdsValues(info.dtype))
        return fail(StatusCode::Unsupported, "tensor %s is %s, expected %s",
                    tensor.c_str(), is.c_str(), dtypeName(expected));
      return fail(StatusCode::Mismatch,
                  "tensor %s is %s, but %s%s; expected %s, or the module in %s",
                  tensor.c_str(), is.c_str(), rules.configPath.c_str(),
                  declared(spec).c_str(), dtypeName(expected),
                  rules.quantisation.unconvertedField);
    }
    if (holdsValues(info.dtype))
      return Status();
    if (!holdsCodes(info.dtype))
      return fail(StatusCode::Unsupported,
                  "tensor %s is %s, expected f32, bf16 or f16", tensor.c_str(),
                  is.c_str());
    return fail(StatusCode::Mismatch, "tensor %s is %s, but %s%s",
                tensor.c_str(), is.c_str(), rules.configPath.c_str(),
                declared(spec).c_str());
  }

  /// Whatever nobody took is ignored for a reason, or too much.
  Status sortOthers(ModelWeights &weights) {
    std::string firstUnknown;
    uint64_t unknown = 0;
    for (const auto &[name, info] : checkpoint.tensors) {
      if (taken.count(&info))
        continue;
      const std::string *reason = reasonToIgnore(name);
      if (!reason) {
        if (!unknown++)
          firstUnknown = name;
        continue;
      }
      IgnoredWeight ignored{{}, *reason};
      ignored.spec.name = name;
      ignored.spec.dtype = info.dtype;
      ignored.spec.shape = info.shape;
      weights.ignored.push_back(std::move(ignored));
    }
    if (!unknown)
      return Status();
    return fail(StatusCode::Mismatch,
                "tensor %s is not part of this model (%s)%s%s",
                quoted(firstUnknown).c_str(), rules.sizes.c_str(),
                more(unknown).c_str(),
                firstUnknown.find(".input_scale") != std::string::npos
                    ? "; it is a stored scale of activations, of which the "
                      "configuration says nothing"
                    : "");
  }

  const std::string *reasonToIgnore(const std::string &name) const {
    for (const IgnoreRule &rule : rules.ignore)
      if (rule.matches(name))
        return &rule.reason;
    return nullptr;
  }

  const TensorInfo *find(const std::string &name) const {
    auto found = checkpoint.tensors.find(name);
    return found == checkpoint.tensors.end() ? nullptr : &found->second;
  }

  const TensorInfo *take(const std::string &name) {
    const TensorInfo *info = find(name);
    if (info)
      taken.insert(info);
    return info;
  }

  void noteMissing(const std::string &name, TensorDType dtype,
                   const WeightSpec &spec) {
    if (missing++)
      return;
    firstMissing = name;
    expectedOfMissing =
        (spec.isQuantised() ? std::string(dtypeName(dtype)) + " " : "") +
        formatShape(spec.shape);
  }

  /// What stands where tensors are missing: one that nobody knows, and what it
  /// is if that can be said.
  std::string foreignTensor() const {
    std::string first;
    for (const auto &[name, info] : checkpoint.tensors) {
      if (taken.count(&info) || reasonToIgnore(name))
        continue;
      if (first.empty())
        first = name;
      for (const ForeignLayout &layout : kForeignLayouts)
        if (name.find(layout.part) != std::string::npos)
          return "; the folder has " + quoted(name) + ", " + layout.what;
    }
    return first.empty() ? ""
                         : "; the folder has " + quoted(first) +
                               ", which is not part of this model";
  }

  /// `FOLDER: message`, formatted like printf.
  [[gnu::format(printf, 3, 4)]] Status fail(StatusCode code, const char *format,
                                            ...) const {
    va_list args;
    va_start(args, format);
    Status status = makeErrorV(code, format, args).within(checkpoint.directory);
    va_end(args);
    return status;
  }

  const Checkpoint &checkpoint;
  const AccountingRules &rules;
  std::unordered_set<const TensorInfo *> taken;
  std::string firstMissing, expectedOfMissing;
  uint64_t missing = 0;
};

} // namespace

bool IgnoreRule::matches(std::string_view name) const {
  return matchPattern(pattern, name, *this);
}

Status accountForTensors(const Checkpoint &checkpoint,
                         const AccountingRules &rules, ModelWeights &weights) {
  return Accountant(checkpoint, rules).run(weights);
}

} // namespace saddle
