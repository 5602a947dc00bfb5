// Rank threads for tests, and what they send each other.

#ifndef SADDLE_TEST_UNIT_COMM_RANKS_H
#define SADDLE_TEST_UNIT_COMM_RANKS_H

#include "runtime/src/comm/ThreadTransport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

namespace saddle::comm {

using namespace std::chrono_literals;
using schema::CollectiveKind;
using schema::RowLayout;
using testing::HasSubstr;

inline const std::vector<uint64_t> kOneRow = {1}, kNoRows = {0};

inline ThreadTransportOptions within(std::chrono::milliseconds timeout) {
  ThreadTransportOptions options;
  options.timeout = timeout;
  return options;
}

/// Runs f(rank) on `world` threads and returns what each returned.
inline std::vector<Status> onRanks(uint32_t world,
                                   const std::function<Status(uint32_t)> &f) {
  std::vector<Status> results(world);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] { results[rank] = f(rank); });
  for (std::thread &thread : threads)
    thread.join();
  return results;
}

inline View rowOf(std::vector<float> &data) {
  View view;
  view.data = reinterpret_cast<uint8_t *>(data.data());
  view.dtype = schema::DType::F32;
  view.rank = 2;
  view.shape = {1, data.size()};
  view.strides = {data.size(), 1};
  return view;
}

/// Rows of one column.
inline View columnOf(std::vector<float> &data) {
  View view = rowOf(data);
  std::swap(view.shape[0], view.shape[1]);
  view.strides[0] = 1;
  return view;
}

inline Partition everyone(uint32_t world) {
  Partition partition{"tp", world, {}};
  for (uint32_t rank = 0; rank < world; ++rank)
    partition.ranks.push_back(rank);
  return partition;
}

inline Call sumOf(std::vector<float> &data, const char *place,
                  uint32_t partition = 0) {
  return {{CollectiveKind::ALL_REDUCE_SUM},
          partition,
          {rowOf(data), rowOf(data)},
          place};
}

} // namespace saddle::comm

#endif // SADDLE_TEST_UNIT_COMM_RANKS_H
