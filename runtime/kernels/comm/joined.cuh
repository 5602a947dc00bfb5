// Exchanges between the members' parts of a matrix and the whole of it, joined
// along rows or columns: what gathers and scatters have in common.

#pragma once

#include "runtime/kernels/comm/members.cuh"
#include "runtime/kernels/comm/packets.cuh"
#include "runtime/kernels/comm/units.cuh"

#include <type_traits>

namespace saddle::device {

/// Where unit `unit` of a member's part lies in the member's own matrix and in
/// the one of all members: `Part` and `All`, joined along rows, or along
/// columns when the layout is Whole.
template <RowLayout layout, int bytes, typename Part, typename All>
struct JoinedUnit {
  using InPart = Units<Part, bytes>;
  using InAll = Units<All, bytes, Part::kCols>;
  using Values = typename InPart::Values;
  static_assert(sizeof(typename Part::Element) == sizeof(typename All::Element),
                "joining does not change the type");

  template <typename Rows>
  __device__ __forceinline__ JoinedUnit(const Rows &rows, uint32_t member,
                                        uint32_t unit) {
    uint32_t column = unit % InPart::kPerRow * InPart::kCount;
    uint32_t row = unit / InPart::kPerRow;
    partOffset = row * Part::kStride + column;
    allOffset = (rows.startOf(member) + row) * All::kStride + column +
                (layout == RowLayout::Whole ? member * Part::kCols : 0);
    width = InPart::width(column);
  }
  __device__ __forceinline__ Values loadPart(const void *part) const {
    return InPart::load(
        static_cast<const typename Part::Element *>(part) + partOffset, width);
  }
  __device__ __forceinline__ void storePart(void *part, Values values) const {
    InPart::store(static_cast<typename Part::Element *>(part) + partOffset,
                  values, width);
  }
  __device__ __forceinline__ Values loadAll(const void *all) const {
    return InAll::load(
        static_cast<const typename All::Element *>(all) + allOffset, width);
  }
  __device__ __forceinline__ void storeAll(void *all, Values values) const {
    InAll::store(static_cast<typename All::Element *>(all) + allOffset, values,
                 width);
  }

  int64_t partOffset, allOffset;
  int width;
};

/// One such exchange, in units of up to `bytes` bytes. `extent` counts the rows
/// of a part. All threads of all CTAs construct it and call exchange.finish();
/// `shared` is in shared memory.
template <ExchangeKind kind, int size, RowLayout layout, int extent, int bytes,
          typename Part, typename All>
struct JoinedExchange {
  using Unit = JoinedUnit<layout, bytes, Part, All>;
  using Values = typename Unit::Values;
  using Rows = MemberRows<size, layout, extent, Part::kRows>;
  using Shared = typename Rows::Shared;
  static constexpr bool kIsDense = Unit::InAll::kIsDense;
  /// Packets of one member, and the memory of the exchange when each unit is
  /// one.
  static constexpr uint32_t kSlot = Unit::InPart::kTotal;
  static constexpr uint64_t kMemory = packetMemory(size * int64_t(kSlot));

  __device__ __forceinline__ JoinedExchange(const LaunchParams &p,
                                            Shared &shared)
      : rows(p, shared), exchange(p, kSignature<kind, Part>, rows.digest()),
        me(exchange.me) {}

  /// Real units of a member's part, and of the largest.
  __device__ __forceinline__ uint32_t unitsOf(uint32_t member) const {
    return rows.of(member) * Unit::InPart::kPerRow;
  }
  /// Of a member's part, those that come from it: all, but of a rank that is
  /// looped back no more than it has itself.
  __device__ __forceinline__ uint32_t unitsFrom(uint32_t member) const {
    uint32_t all = unitsOf(member);
    return exchange.isLooped ? min(all, unitsOf(me)) : all;
  }
  /// Where in the member's part unit `unit` was when it was sent. A rank that
  /// is looped back takes its own rows for a member's, each with its columns
  /// turned by another part of the row: rows of members differ, as tokens do.
  __device__ __forceinline__ uint32_t sentUnit(uint32_t member,
                                               uint32_t unit) const {
    // Rows of bytes hold several things, each of which has its place.
    constexpr bool kTurns = !std::is_same_v<typename Part::Element, u8>;
    if (!kTurns || !exchange.isLooped)
      return unit;
    constexpr uint32_t kPerRow = Unit::InPart::kPerRow;
    uint32_t turn = (member + size - me) % size * kPerRow / size;
    return unit / kPerRow * kPerRow + (unit + turn) % kPerRow;
  }
  __device__ __forceinline__ uint32_t mostUnits() const {
    return rows.largest() * Unit::InPart::kPerRow;
  }
  __device__ __forceinline__ Unit at(uint32_t member, uint32_t unit) const {
    return Unit(rows, member, unit);
  }

  Rows rows;
  Exchange<size> exchange;
  const uint32_t me;
};

} // namespace saddle::device
