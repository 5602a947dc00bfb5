#include "test/gpu/KernelCheck/CheckRun.h"

#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/Validate.h"
#include "test/gpu/KernelCheck/ChoiceSlack.h"
#include "test/gpu/KernelCheck/Compare.h"
#include "test/gpu/KernelCheck/RoundingSlack.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

namespace saddle::check {

std::vector<uint64_t> sampleOf(uint64_t count, uint64_t wanted) {
  if (wanted == 0 || wanted >= count) {
    std::vector<uint64_t> all(count);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  std::set<uint64_t> rows = {0};
  auto add = [&](uint64_t row) {
    if (rows.size() < wanted)
      rows.insert(row);
  };
  add(count - 1);
  // Half of the sample at tiles, the rest anywhere.
  for (uint64_t tile = 128; tile >= 8; tile /= 2)
    for (uint64_t edge : {tile, count / tile * tile})
      if (edge != 0 && edge < count && rows.size() + 2 <= wanted / 2) {
        add(edge - 1);
        add(edge);
      }
  uint64_t left = wanted - rows.size();
  for (uint64_t i = 0; i < left; ++i)
    add((2 * i + 1) * count / (2 * left));
  for (uint64_t row = 0; rows.size() < wanted; ++row)
    add(row);
  return {rows.begin(), rows.end()};
}

uint64_t operandBytes(const LaunchCase &launch) {
  uint64_t bytes = 0;
  for (uint32_t index : *launch.launch->operands()) {
    const schema::Slice &slice = *launch.entry->slices()->Get(index);
    const schema::Arena &arena = *launch.engine->arenas()->Get(slice.arena());
    bytes += engine::spanBytes(slice) * statesOf(launch).of(arena.kind());
  }
  return bytes;
}

/// Those rows of an operand one after the other, with the same strides.
static std::shared_ptr<OperandBuffer>
gather(const OperandBuffer &source, const std::vector<uint64_t> &rows) {
  View from = source.view(), shape = from;
  shape.shape[0] = std::max<uint64_t>(rows.size(), 1);
  auto result = std::make_shared<OperandBuffer>(shape);
  View to = result->view();
  shape.shape[0] = 1;
  uint64_t bytes =
      OperandBuffer(shape).bytes().size() - 2 * OperandBuffer::kGuard;
  for (uint64_t i = 0; i < rows.size(); ++i)
    std::memcpy(to.row(i), from.row(rows[i]), bytes);
  return result;
}

/// Runs the reference kernel on the sample; its outputs.
static StatusOr<Operands> runReference(const LaunchCase &launch,
                                       const Operands &given,
                                       const std::vector<uint64_t> &sample) {
  Operands operands = given;
  std::vector<View> views;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (isRowWise(launch, i))
      operands[i] = gather(*given[i], sample);
    else if (i >= firstOutput(launch))
      operands[i] = std::make_shared<OperandBuffer>(*given[i]);
    views.push_back(operands[i]->view());
  }
  if (sample.empty())
    return operands;
  cpu::Scratch scratch;
  std::unique_ptr<cpu::BoundKernel> kernel =
      cpu::bindLaunch(*launch.kernel, views, launch.rank, scratch);
  SADDLE_RETURN_IF_ERROR(scratch.allocate());
  kernel->run(sample.size());
  return operands;
}

/// Whether other rows than those of a sample can be judged without the
/// reference. A cache is compared whole, and select_rows leaves rows alone.
static bool canSample(const LaunchCase &launch) {
  return !updatesCaches(launch) && launch.kernel->op()->str() != "select_rows";
}

StatusOr<double> checkRun(const LaunchCase &launch, const Operands &shared,
                          const RunCase &run, const Executor &execute) {
  Operands before = makeOperands(launch, shared, run.pattern, run.seed);
  Operands found = before;
  for (size_t i = 0; i < found.size(); ++i)
    if (!isReadOnly(launch, i))
      found[i] = std::make_shared<OperandBuffer>(*before[i]);
  SADDLE_RETURN_IF_ERROR(execute(launch, run.count, found));

  std::vector<uint64_t> sample =
      sampleOf(run.count, canSample(launch) ? run.sampleRows : 0);
  SADDLE_ASSIGN_OR_RETURN(Operands expected,
                          runReference(launch, before, sample));
  std::vector<View> views;
  for (const auto &operand : expected)
    views.push_back(operand->view());
  std::vector<std::vector<float>> slack =
      roundingSlack(*launch.kernel, views, launch.rank, sample.size());
  std::vector<View> foundViews;
  for (const auto &operand : found)
    foundViews.push_back(operand->view());
  // Before rows of `found` are put back.
  std::optional<ChoiceSlack> ofChoices =
      choiceSlack(*launch.kernel, views, foundViews, sample);
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (isReadOnly(launch, i))
      continue;
    if (i < firstOutput(launch)) {
      SADDLE_RETURN_IF_ERROR(compareBytes(launch, i, *before[i], *found[i]));
      continue;
    }
    // All of a cache is real.
    bool rows = isRowWise(launch, i);
    uint64_t pages = rows ? 0 : found[i]->view().shape[0];
    SADDLE_ASSIGN_OR_RETURN(
        double error,
        compareOutput(launch, i, rows ? run.count : pages,
                      rows ? sample : sampleOf(pages, 0), expected[i]->view(),
                      *before[i], *found[i],
                      ofChoices && ofChoices->weights == i ? ofChoices->slack
                                                           : slack));
    worst = std::max(worst, error);
  }
  return worst;
}

} // namespace saddle::check
