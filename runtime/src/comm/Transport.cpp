#include "runtime/src/comm/Transport.h"

#include <cstring>

namespace saddle::comm {

static View bytesView(const uint8_t *data, uint64_t size) {
  View view;
  view.data = const_cast<uint8_t *>(data); // a send only reads
  view.dtype = schema::DType::U8;
  view.rank = 1;
  view.shape = {size};
  view.strides = {1};
  return view;
}

template <typename Buffer>
Status Transport::tradeAll(uint32_t rank, Bytes own, const char *place,
                           uint64_t tag, Buffer of) {
  // One message of each pair is under way, so there is always room for it.
  for (uint32_t peer = 0; peer < worldSize(); ++peer)
    if (peer != rank)
      SADDLE_RETURN_IF_ERROR(
          send(rank, {peer, bytesView(own.data(), own.size()), place},
               own.size(), tag));
  for (uint32_t peer = 0; peer < worldSize(); ++peer) {
    if (peer == rank)
      continue;
    std::vector<uint8_t> &theirs = of(peer);
    SADDLE_RETURN_IF_ERROR(
        receive(rank, {peer, bytesView(theirs.data(), theirs.size()), place},
                theirs.size(), tag));
  }
  return {};
}

StatusOr<std::vector<std::vector<uint8_t>>>
Transport::exchange(uint32_t rank, Bytes own, const char *place) {
  if (own.size() > kMostBlobBytes)
    return makeError(StatusCode::InvalidArgument,
                     "rank %u gives %zu bytes at \"%s\", expected at most %zu",
                     rank, own.size(), place, kMostBlobBytes);
  // Sizes first, since a receiver has to know what comes.
  uint64_t size = own.size();
  std::vector<std::vector<uint8_t>> sizes(worldSize(),
                                          std::vector<uint8_t>(sizeof size)),
      blobs(worldSize());
  const auto *sizeBytes = reinterpret_cast<const uint8_t *>(&size);
  SADDLE_RETURN_IF_ERROR(tradeAll(
      rank, {sizeBytes, sizeof size}, place,
      /*tag=*/0,
      [&](uint32_t peer) -> std::vector<uint8_t> & { return sizes[peer]; }));
  for (uint32_t peer = 0; peer < worldSize(); ++peer) {
    uint64_t theirs = size;
    if (peer != rank)
      std::memcpy(&theirs, sizes[peer].data(), sizeof theirs);
    blobs[peer].resize(theirs);
  }
  SADDLE_RETURN_IF_ERROR(tradeAll(
      rank, own, place, /*tag=*/1,
      [&](uint32_t peer) -> std::vector<uint8_t> & { return blobs[peer]; }));
  blobs[rank].assign(own.begin(), own.end());
  return blobs;
}

Status Transport::barrier(uint32_t rank, const char *place) {
  std::vector<uint8_t> nothing;
  return tradeAll(rank, {}, place, /*tag=*/2,
                  [&](uint32_t) -> std::vector<uint8_t> & { return nothing; });
}

} // namespace saddle::comm
