// Packets: 8 bytes of data in 16, sent by one store and polled for where they
// arrive. Each half carries the exchange's epoch beside 4 bytes of data and is
// stored as a whole, so what has the right stamp is the right data: no fence,
// no flag, no clearing, one hop. Costs twice the bytes.

#pragma once

#include "runtime/kernels/comm/exchange.cuh"

#include <cstring>

namespace saddle::device {

/// Members whose packets a thread reads or polls for together.
template <int size>
constexpr int kWave = size < 8 ? size : 8;

/// The packets of an exchange, numbered. The buffers lie interleaved, so that a
/// packet's place does not depend on how many an exchange has: another exchange
/// of the group never takes this buffer's bytes for the other's.
template <int size>
class Packets {
public:
  __device__ __forceinline__ explicit Packets(Exchange<size> &exchange)
      : exchange(exchange),
        base(reinterpret_cast<WordPair *>(exchange.state + 1) +
             exchange.epoch % kPacketBuffers * kPacketInterleave) {}

  /// Whose number packets of a member have here (Exchange::slotOf).
  __device__ __forceinline__ uint32_t slotOf(uint32_t member) const {
    return exchange.slotOf(member);
  }

  /// The 8 bytes of `values` become packet `number` of the member.
  template <typename Values>
  __device__ __forceinline__ void send(uint32_t member, uint32_t number,
                                       Values values) {
    static_assert(sizeof(Values) == kPacketPayload, "a packet carries 8 bytes");
    uint32_t data[2];
    memcpy(data, &values, 8);
    storeRelaxed(
        exchange.at(member, place(number)),
        {stamped(data[0], exchange.epoch), stamped(data[1], exchange.epoch)});
  }

  /// The same packet for all other members, each rank beginning with another.
  template <typename Values>
  __device__ __forceinline__ void sendToOthers(uint32_t number, Values values) {
#pragma unroll
    for (uint32_t ahead = 1; ahead < size; ++ahead)
      send((exchange.me + ahead) % size, number, values);
  }

  /// Sends each other member's unit i, load(member, i), as packet `number`
  /// where exists(member, i).
  template <typename Values, typename Exists, typename Load>
  __device__ __forceinline__ void sendEach(uint32_t i, uint32_t number,
                                           Exists exists, Load load) {
    // Members that are read for together, before the first is sent.
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 1; first < size; first += kCount) {
      Values own[kCount];
      auto member = [&](int k) { return (exchange.me + first + k) % size; };
      auto isSent = [&](int k) {
        return first + k < size && exists(member(k), i);
      };
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (isSent(k))
          own[k] = load(member(k), i);
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (isSent(k))
          send(member(k), number, own[k]);
    }
  }

  /// Waits for up to `count` packets, polled together. Of the i-th one,
  /// isAwaited(i) says whether there is one, numberOf(i) which it is and
  /// senderOf(i) whose. False when one does not come.
  template <typename Values, int count, typename Awaited, typename Number,
            typename Sender>
  __device__ __forceinline__ bool collect(Values (&values)[count],
                                          Awaited isAwaited, Number numberOf,
                                          Sender senderOf) {
    static_assert(sizeof(Values) == kPacketPayload, "a packet carries 8 bytes");
    WordPair pairs[count];
    uint32_t missing = 0;
    bool came = exchange.waitFor(missing, [&] {
      bool ready = true;
#pragma unroll
      for (int i = 0; i < count; ++i)
        if (isAwaited(i))
          pairs[i] = loadRelaxed(place(numberOf(i)));
#pragma unroll
      for (int i = 0; i < count; ++i)
        if (isAwaited(i) && !isStamped(pairs[i], exchange.epoch)) {
          ready = false;
          missing = senderOf(i);
        }
      return ready;
    });
    if (!came)
      return false;
#pragma unroll
    for (int i = 0; i < count; ++i)
      if (isAwaited(i)) {
        uint32_t data[2] = {static_cast<uint32_t>(pairs[i].first),
                            static_cast<uint32_t>(pairs[i].second)};
        memcpy(&values[i], data, 8);
      }
    return true;
  }

private:
  __device__ __forceinline__ WordPair *place(uint32_t number) const {
    constexpr uint32_t kEach = kPacketInterleave;
    return base + (number / kEach * (kPacketBuffers * kEach) + number % kEach);
  }

  Exchange<size> &exchange;
  WordPair *const base;
};

/// Bytes of a group's memory that an exchange of so many packets needs.
template <int64_t packets>
constexpr uint64_t kPacketMemory = packetMemory(packets);

/// Units that a thread works on together when there are `units` in all: as many
/// as make eight packets, or one when a full grid does all in one go, as more
/// code would only be longer to fetch.
template <int size, int64_t units>
constexpr int kBatch = units <= 8192 ? 1 : 8 / kWave<size>;

} // namespace saddle::device
