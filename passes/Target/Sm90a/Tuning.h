// How products with weights, and attention, are divided over CTAs: what a
// planner would choose, what else there is, and what was measured to be
// fastest.

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

/// One way to divide a product: the fields of one kind, all above 0.
struct Division {
  /// Streaming (tile/stream.cuh): rows of a warp, warps of a CTA along rows,
  /// tiles of eight tokens.
  int64_t rows = 0, rowWarps = 0, tokenTiles = 0;
  /// Tiles of many tokens (tile/product.cuh).
  int64_t groups = 0, waves = 0;
  /// Panels of rows (impls/linear_panel.cuh), stages of their ring.
  int64_t panelRows = 0, panelDepth = 0;
  /// Attention of decodes (impls/attention_decode.cuh): ranges of a token's
  /// positions, warps of a CTA.
  int64_t ranges = 0, rangeWarps = 0;
  /// Experts of a handful of tokens (impls/experts_decode.cuh): rows of a CTA
  /// of both products.
  int64_t upRows = 0, downRows = 0;
  /// Experts with sorted tokens (impls/experts_stream.cuh): warps of a CTA
  /// along rows of both products, tiles of eight tokens of a block.
  int64_t upWarps = 0, downWarps = 0, blockTiles = 0;
  /// Experts whose weights flow (impls/experts_flow.cuh): warps of a CTA that
  /// share the rows of both products.
  int64_t upParts = 0, downParts = 0;

  static Division stream(int64_t rows, int64_t rowWarps, int64_t tokenTiles) {
    Division way;
    way.rows = rows, way.rowWarps = rowWarps, way.tokenTiles = tokenTiles;
    return way;
  }
  static Division tile(int64_t groups, int64_t waves) {
    Division way;
    way.groups = groups, way.waves = waves;
    return way;
  }
  static Division panel(int64_t rows, int64_t depth) {
    Division way;
    way.panelRows = rows, way.panelDepth = depth;
    return way;
  }
  static Division cut(int64_t ranges, int64_t rangeWarps) {
    Division way;
    way.ranges = ranges, way.rangeWarps = rangeWarps;
    return way;
  }
  static Division decode(int64_t upRows, int64_t downRows) {
    Division way;
    way.upRows = upRows, way.downRows = downRows;
    return way;
  }
  static Division sorted(int64_t upWarps, int64_t downWarps,
                         int64_t blockTiles) {
    Division way;
    way.upWarps = upWarps, way.downWarps = downWarps;
    way.blockTiles = blockTiles;
    return way;
  }
  static Division flow(int64_t upParts, int64_t downParts) {
    Division way;
    way.upParts = upParts, way.downParts = downParts;
    return way;
  }
  bool isTile() const { return groups != 0; }
  bool isPanel() const { return panelRows != 0; }
  bool isDecode() const { return upRows != 0; }
  bool isFlow() const { return upParts != 0; }
  bool operator==(const Division &other) const;
  /// "stream 8 4 1", "tile 2 2", "panel 32 18", "ranges 65 4", "decode 48 16",
  /// "sorted 4 8 1" or "flow 8 2".
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
  size_t ways; // there were to divide it
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

  /// `ways`: legal divisions, the planner's first. Candidates are numbered
  /// behind those `before` of the launch's other products, so that one product
  /// of a launch at a time is divided otherwise.
  DividedProduct choose(std::string product, llvm::ArrayRef<Division> ways,
                        size_t before = 0) const;

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
