// What the planners of products with weights share.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H

#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/panel.h"
#include "runtime/kernels/shared/stream.h"
#include "runtime/kernels/shared/tile.h"

#include <algorithm>
#include <optional>

namespace saddle::cuda {

/// Warps of a CTA of the kernels for any shape.
constexpr int64_t kWarpsOfAnyShape = 8;

using device::ceilDiv, device::roundUp;

/// The grid of such a kernel that has work for that many warps, until the
/// machine is full.
uint32_t blocksOfWarps(int64_t warps);

/// The index of the launch's extent in Step::counts.
inline int extentNumber(const LaunchDesc &launch) {
  return static_cast<int>(launch.extent);
}

/// A weight operand with its companions, which stand behind it.
struct StoredWeight {
  /// `name` is one of the launch's weights.
  StoredWeight(const LaunchDesc &launch, llvm::StringRef name);

  const Operand &elements;
  size_t number; // of `elements` among the launch's operands
  const Operand *scale = nullptr, *zero = nullptr, *globalScale = nullptr;

  /// How many operands it is.
  size_t operands() const { return 1 + companions; }
  /// Values in a row.
  int64_t cols() const {
    return elements.shape.back() * elements.encoding.perElement;
  }
  /// Nothing but the weight, whose elements are the values.
  bool isPlain() const;
  /// Numbers with an f32 scale and nothing else.
  bool isScaled() const;
  /// e4m3 with scales of whole rows, for tokens that are quantised by whole
  /// rows: products of codes are added up before rows are scaled.
  bool isOfScaledRows(int64_t actGroup) const;
  /// Whether companions stand in the order that device code knows; else why
  /// not, in `error`.
  bool check(std::string &error) const;
  /// "StoredWeights<Matrix<u8, ...>, Nibbles<8>, Companion<...>>".
  std::string type() const;

private:
  size_t companions = 0;
};

/// Tokens in the workspace as e4m3 codes with a factor for each group of
/// columns (tile/quantize.cuh): codes first, then factors.
struct EncodedTokens {
  /// From `offset` on, a multiple of 256.
  EncodedTokens(int64_t tokens, int64_t cols, int64_t group,
                uint64_t offset = 0);
  /// Operands of a launch that somebody else has encoded; expressions say where
  /// they are.
  EncodedTokens(const Operand &codes, const Operand &factors, int64_t group,
                std::string codesAt, std::string factorsAt);

  int64_t group;
  std::string codes, factors;     // types
  std::string codesAt, factorsAt; // expressions
  uint64_t bytes;                 // of the workspace
};

/// A launch of linear_of_codes or experts_of_codes as one of linear or experts,
/// whose x are the codes. Functions find factors behind all other operands.
struct LaunchOfCodes {
  LaunchOfCodes(const LaunchDesc &launch, llvm::StringRef op);

  LaunchDesc product;
  EncodedTokens encoded;
  /// Whether products can take the codes as they lie.
  bool fits;

  /// The functions of a plan for `product`, within the launch.
  KernelPlan place(const KernelPlan &plan) const;
  /// Makes rows of fp32 at the beginning of the workspace.
  FunctionPlan decodeFunction() const;
};

/// The product of a linear with scaled weights whose tokens a function before
/// it has encoded: its only function, with the workspace of EncodedTokens,
/// unless they are `given`. None where no kernel takes such tokens.
std::optional<KernelPlan>
planLinearOfEncoded(const LaunchDesc &launch,
                    const EncodedTokens *given = nullptr);

/// The product of a linear with scaled weights whose CTAs have its few tokens
/// as codes that each makes for itself (ResidentTokens of tile/stream_cta.cuh):
/// a function without a body.
struct ResidentProduct {
  DividedProduct divided;
  std::string shape, scales; // types
  FunctionPlan function;
};
/// `how` ends the product's name. None where rows cannot stream.
std::optional<ResidentProduct> planResidentProduct(const LaunchDesc &launch,
                                                   llvm::StringRef how);

/// Attention whose rows a last function leaves as `encoded`, in place of its
/// last operand; the tokens have the width of attention's output. None where
/// rows are not combined from ranges, or a head is no group.
std::optional<KernelPlan> planAttentionEncoded(const LaunchDesc &launch,
                                               const EncodedTokens &encoded);

/// The type of attention (impls/attention.cuh) of a launch that the kernel of
/// decodes can take, with one range. None for others.
std::optional<std::string> decodeType(const LaunchDesc &launch);

//===--- Streaming products (tile/stream.cuh) -----------------------------===//

/// Whether a warp can stream rows of `w`: its type has a StreamType and rows
/// begin at multiples of 16 bytes.
bool canStreamWeights(const Operand &w);

/// Whether rows of `x` can be the tokens of weights of that type, without
/// encoding.
bool canStreamTokens(const Operand &x, mlir::Type weight);

/// Columns of a unit of such weights.
int64_t streamUnitColumns(mlir::Type weight);

/// Units whose products are scaled together, such that they lie within groups
/// of both extents: 2 or 1; 0 when there is no such number. For e4m3 weights
/// with `cols` columns.
int64_t streamScaleUnits(int64_t cols, int64_t group, int64_t blockCols);

/// Units of a stage: as many as `wanted` or a few more or less, in whole groups
/// of `scaleUnits` that divide the columns evenly.
int64_t streamUnits(int64_t cols, int64_t unitColumns, int64_t scaleUnits,
                    int64_t wanted);

/// A group's extent as the device code gets it: a single group may be as wide
/// as any stage.
int64_t streamGroup(int64_t cols, int64_t group);

/// StreamShape of tile/stream_cta.cuh with what it works on, and the shared
/// memory that follows.
struct StreamShape : device::StreamCtaLayout {
  explicit StreamShape(mlir::Type weight);

  /// Tokens are encoded where they are used: by the CTA, or by each warp for
  /// itself.
  void keepTokens(int64_t count, int64_t cols, int64_t group);
  /// Tokens come through the ring again.
  void fetchTokens() { resident = false; }

  /// Of a CTA.
  int64_t sharedBytes() const;
  /// Of one of its warps when each has tokens of its own.
  int64_t warpSharedBytes() const { return residents.warpBytes(*this); }

  /// Chooses the ring's depth for that many stages of a warp, with `most` bytes
  /// of shared memory where possible; false when a CTA cannot have so much as
  /// it needs.
  bool chooseDepth(int64_t stages, int64_t most = 112 * 1024);
  /// "StreamShape<16, 1, 4, 2, 3, 1, 8>".
  std::string text() const;

private:
  device::ResidentLayout residents = {};
};

//===--- Panels of rows (impls/linear_panel.cuh) --------------------------===//

/// PanelShape of the device with the shared memory that follows.
struct PanelShape : device::PanelLayout {
  /// The ring is as deep as `most` bytes allow.
  PanelShape(int64_t rows, int64_t stages, bool scaled, int64_t most);
  /// Of a product of so many columns, whose scales lie as in `stream`.
  PanelShape(const Division &division, int64_t cols, const StreamShape &stream);

  std::string text() const; // "PanelShape<32, 9>"
  FunctionPlan function(std::string body, int64_t weightRows,
                        int64_t tokens) const;
};

//===--- Tiles of many tokens (tile/product.cuh) --------------------------===//

/// TileProduct<X, W, ...> and what follows from it.
struct TileShape : device::TileLayout {
  /// `scaleColumns` is 64 or 128 for scaled e4m3, else 0; `codeBits` are those
  /// of weights that are decoded on the way. The ring is as deep as shared
  /// memory allows.
  TileShape(int64_t groups, int64_t waves, int64_t scaleColumns = 0,
            int64_t codeBits = 0);

  int64_t scaleColumns;
  /// Extents of the groups of scales.
  int64_t tokenGroup = 1, weightGroup = 1;
  device::TokenOrder order = device::TokenOrder::Anywhere;

  /// Says that `tokens` tokens, at most, lie in order; pairs of CTAs share rows
  /// where both can have tokens. Copying one token alone costs less than a
  /// tile of them: where there are few, they come as if from anywhere.
  void takeInOrder(int64_t tokens);

  std::string text(llvm::StringRef x, llvm::StringRef w) const;
  /// Of the maps that such a function keeps in the workspace.
  static int64_t mapBytes();
  /// A function whose CTAs walk `items`.
  FunctionPlan function(llvm::StringRef suffix, std::string body,
                        int64_t items) const;
};

/// Whether tiles can write such results 16 bytes at a time.
bool canWriteTiles(const Operand &out);

/// The tile of a linear with so many tokens: two groups with two waves, or a
/// smaller one where those would leave multiprocessors idle.
TileShape tileFor(int64_t tokens, int64_t rows, int64_t scaleColumns = 0,
                  int64_t codeBits = 0);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H
