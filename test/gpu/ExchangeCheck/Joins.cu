// all_gather and reduce_scatter_sum against loops.

#include "test/gpu/ExchangeCheck/Matrices.h"

using namespace saddle::device;

namespace {

/// Counts by member and where their rows start, from the definition.
struct Rows {
  std::vector<uint32_t> counts, starts;
  uint32_t largest = 0;
};

template <int size, RowLayout layout>
Rows chooseRows(Ranks &ranks, uint32_t capacity, uint32_t trial) {
  Rows rows;
  std::vector<uint32_t> tokens(size);
  uint32_t n = 0;
  if (layout == RowLayout::Whole || layout == RowLayout::Shares) {
    uint32_t most = layout == RowLayout::Whole ? capacity : capacity * size;
    n = trial == 0 ? most : trial == 1 ? 0 : random32() % (most + 1);
  }
  uint32_t share = (n + size - 1) / size;
  for (uint32_t i = 0; i < size; ++i) {
    if (layout == RowLayout::Whole)
      rows.counts.push_back(n);
    else if (layout == RowLayout::Shares)
      rows.counts.push_back(n < i * share ? 0 : std::min(share, n - i * share));
    else
      rows.counts.push_back(trial == 0   ? capacity
                            : trial == 1 ? 0
                            : random32() % 3 == 0
                                ? 0
                                : random32() % (capacity + 1));
    tokens[i] = rows.counts[i];
    rows.largest = std::max(rows.largest, rows.counts[i]);
  }
  uint32_t start = 0;
  for (uint32_t i = 0; i < size; ++i) {
    rows.starts.push_back(layout == RowLayout::Whole    ? 0
                          : layout == RowLayout::Shares ? i * share
                          : layout == RowLayout::Padded ? i * rows.largest
                                                        : start);
    start += rows.counts[i];
  }
  ranks.setStep({0, n, n}, tokens, {});
  return rows;
}

template <bool bulk, int size, RowLayout layout, typename Part, typename All>
void checkJoin(Ranks &ranks, Report &report, const char *name) {
  using T = typename Part::Element;
  constexpr int extent = layout == RowLayout::Shares ? 6 : 1;
  uint64_t shift = Part::isVectorizable(8 / sizeof(T)) ? 0 : sizeof(T);
  uint64_t from = ranks.places.input + shift, to = ranks.places.output + shift;
  for (uint32_t trial = 0; trial < 5; ++trial) {
    Rows rows = chooseRows<size, layout>(ranks, Part::kRows, trial);
    auto columnOf = [](uint32_t member) {
      return layout == RowLayout::Whole ? member * Part::kCols : 0;
    };
    std::string label = std::string(name) + " layout " +
                        std::to_string(int(layout)) + " bulk " +
                        std::to_string(bulk) + " size " + std::to_string(size) +
                        " trial " + std::to_string(trial);
    uint32_t block, grid = gridFor(ranks, block);
    auto go = [&](Kernel kernel) {
      for (uint32_t r = 0; r < ranks.count; ++r) {
        LaunchParams p = ranks.params(r);
        p.operands[0] = ranks.at(r, from);
        p.operands[1] = ranks.at(r, to);
        ranks.launch(r, kernel, grid, block, p);
      }
      ranks.sync();
    };
    {
      auto in = upload<Part>(ranks, from);
      auto out = poison<All>(ranks, to);
      for (auto &host : out)
        for (uint32_t m = 0; m < size; ++m) {
          for (uint32_t i = 0; i < rows.counts[m]; ++i)
            std::copy_n(in[m].row(i), Part::kCols,
                        host.row(rows.starts[m] + i) + columnOf(m));
          if (layout == RowLayout::Padded)
            for (uint32_t i = rows.counts[m]; i < rows.largest; ++i)
              std::memset((void *)host.row(rows.starts[m] + i), 0,
                          Part::kCols * sizeof(T));
        }
      go(run<GatherBody<bulk, size, layout, extent, Part, All>>);
      report(same(ranks, to, out), "gather " + label);
    }
    if constexpr (sizeof(T) > 1 && !std::is_same_v<T, i32>) {
      auto in = upload<All>(ranks, from);
      auto out = poison<Part>(ranks, to);
      for (uint32_t m = 0; m < size; ++m)
        for (uint32_t i = 0; i < rows.counts[m]; ++i)
          for (int64_t j = 0; j < Part::kCols; ++j) {
            std::vector<T> terms;
            for (auto &host : in)
              terms.push_back(host.row(rows.starts[m] + i)[columnOf(m) + j]);
            out[m].row(i)[j] = sumOf(terms);
          }
      go(run<ScatterBody<bulk, size, layout, extent, All, Part>>);
      report(same(ranks, to, out), "scatter " + label);
    }
  }
}

template <int size, typename T, int64_t rows, int64_t cols, int64_t gap,
          int alignment>
void checkShape(Ranks &ranks, Report &report, const char *name) {
  using Part = Matrix<T, rows, cols, cols + gap, alignment>;
  using Tall = Matrix<T, rows * size, cols, cols + 2 * gap, alignment>;
  using Wide = Matrix<T, rows, cols * size, cols * size + gap, alignment>;
  checkJoin<false, size, RowLayout::Shares, Part, Tall>(ranks, report, name);
  checkJoin<true, size, RowLayout::Shares, Part, Tall>(ranks, report, name);
  checkJoin<false, size, RowLayout::Packed, Part, Tall>(ranks, report, name);
  checkJoin<true, size, RowLayout::Packed, Part, Tall>(ranks, report, name);
  checkJoin<false, size, RowLayout::Padded, Part, Tall>(ranks, report, name);
  checkJoin<true, size, RowLayout::Padded, Part, Tall>(ranks, report, name);
  checkJoin<false, size, RowLayout::Whole, Part, Wide>(ranks, report, name);
  checkJoin<true, size, RowLayout::Whole, Part, Wide>(ranks, report, name);
}

template <int size>
void checkSize(Ranks &ranks, Report &report) {
  checkShape<size, bf16, 8, 64, 0, 16>(ranks, report, "bf16 64");
  checkShape<size, bf16, 37, 384, 16, 16>(ranks, report, "bf16 384");
  checkShape<size, f32, 5, 7, 2, 4>(ranks, report, "f32 7");
  checkShape<size, f16, 6, 13, 1, 2>(ranks, report, "f16 13");
  checkShape<size, e4m3, 6, 13, 3, 1>(ranks, report, "e4m3 13");
  checkShape<size, i32, 3, 4, 0, 16>(ranks, report, "i32 4");
  checkShape<size, f32, 9, 1, 0, 16>(ranks, report, "f32 1");
}

} // namespace

void saddle::device::checkJoins(Ranks &ranks, Report &report) {
  FOR_SIZE(checkSize, ranks, report);
}
