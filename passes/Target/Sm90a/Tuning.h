// How products with weights are divided over CTAs: what a planner would choose,
// what else there is, and what was measured to be fastest.

#ifndef SADDLE_PASSES_TARGET_SM90A_TUNING_H
#define SADDLE_PASSES_TARGET_SM90A_TUNING_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saddle::cuda {

/// One way to divide a product.
struct Division {
  /// Streaming (tile/stream.cuh): rows of a warp, warps of a CTA along rows,
  /// tiles of eight tokens.
  int64_t rows = 0, rowWarps = 0, tokenTiles = 0;
  /// Tiles of many tokens (tile/product.cuh); 0: no tiles.
  int64_t groups = 0, waves = 0;
  /// Panels of rows (impls/linear_panel.cuh) and stages of their ring; 0: no
  /// panels.
  int64_t panelRows = 0, panelDepth = 0;

  static Division stream(int64_t rows, int64_t rowWarps, int64_t tokenTiles) {
    return {rows, rowWarps, tokenTiles, 0, 0, 0, 0};
  }
  static Division tile(int64_t groups, int64_t waves) {
    return {0, 0, 0, groups, waves, 0, 0};
  }
  static Division panel(int64_t rows, int64_t depth) {
    return {0, 0, 0, 0, 0, rows, depth};
  }
  bool isTile() const { return groups != 0; }
  bool isPanel() const { return panelRows != 0; }
  bool operator==(const Division &other) const;
  /// "stream 8 4 1", "tile 2 2" or "panel 32 8".
  std::string text() const;
  /// Nothing for other text.
  static std::optional<Division> parse(llvm::StringRef text);
};

/// A product as a plan divides it, and where that comes from.
struct DividedProduct {
  std::string product; // "linear e4m3 4096x3072 group 128 tokens 8"
  Division division;
  /// "measured 6.1 us, 7.0 as planned (NVIDIA H200, driver 580.159,
  /// 2026-12-01)" or "candidate 2 of 5"; empty: as planned.
  std::string why;
};

/// Which divisions plans take.
class Tuning {
public:
  /// Those of the table, else the planners'.
  static const Tuning &measured();
  /// That table, in JSON.
  static llvm::StringRef tableText();
  /// Of every product the candidate of that number; 0, and where there are
  /// fewer: the planner's.
  static Tuning candidate(unsigned number);
  /// A table in JSON, as tools/saddle-tune writes it; nothing, with the reason
  /// in `error`, for other text and for another number of multiprocessors.
  static std::optional<Tuning> parse(llvm::StringRef json, std::string &error);

  /// `ways`: legal divisions, the planner's first.
  DividedProduct choose(std::string product,
                        llvm::ArrayRef<Division> ways) const;

private:
  struct Row {
    Division division;
    double microseconds, planned;
  };
  std::optional<unsigned> number;
  std::string origin;
  llvm::StringMap<Row> rows;
};

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_TUNING_H
