// kv_append and attention over paged caches [pages, page_size, kv heads, dim].

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <cmath>

namespace saddle::cpu {

/// Where head `head` of token slot `slot` lies.
static uint8_t *cacheRow(const View &cache, uint64_t slot, uint64_t head) {
  uint64_t page = slot / cache.shape[1], offset = slot % cache.shape[1];
  return cache.data + (page * cache.strides[0] + offset * cache.strides[1] +
                       head * cache.strides[2]) *
                          elementBytes(cache.dtype);
}

std::unique_ptr<BoundKernel> bindKvAppend(const BindContext &context) {
  View k = context.operand(0), v = context.operand(1),
       slots = context.operand(2), kCache = context.operand(3),
       vCache = context.operand(4);
  uint64_t width = k.shape[1], headDim = kCache.shape[3];
  uint64_t capacity = kCache.shape[0] * kCache.shape[1];
  context.scratch.require(double(width));
  auto append = [=, scratch = &context.scratch](const View &source, uint64_t t,
                                                const View &cache,
                                                uint64_t slot) {
    const float *values =
        asFloats(source.row(t), source.dtype, scratch->data(), width);
    for (uint64_t head = 0; head < cache.shape[2]; ++head)
      storeRow(values + head * headDim, cache.dtype,
               cacheRow(cache, slot, head), headDim);
  };
  return makeKernel([=](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      int32_t slot = reinterpret_cast<const int32_t *>(slots.data)[t];
      if (slot < 0 || uint64_t(slot) >= capacity)
        continue;
      append(k, t, kCache, slot);
      append(v, t, vCache, slot);
    }
  });
}

/// The rows of one KV head in a page, up to `count`; in place, or widened in
/// `scratch`.
static StoredRows rowsOf(const View &cache, int32_t page, uint64_t head,
                         uint64_t count, float *scratch) {
  uint64_t bytes = elementBytes(cache.dtype), width = cache.shape[3];
  const uint8_t *first =
      cache.data +
      (uint64_t(page) * cache.strides[0] + head * cache.strides[2]) * bytes;
  uint64_t stride = cache.strides[1] * bytes;
  if (isReadInPlace(cache.dtype))
    return {first, stride, cache.dtype, count, width};
  for (uint64_t i = 0; i < count; ++i)
    loadRow(first + i * stride, cache.dtype, scratch + i * width, width);
  return {reinterpret_cast<const uint8_t *>(scratch), width * sizeof(float),
          schema::DType::F32, count, width};
}

std::unique_ptr<BoundKernel> bindAttention(const BindContext &context) {
  View q = context.operand(0), kCache = context.operand(1),
       vCache = context.operand(2), positions = context.operand(3),
       sequences = context.operand(4), blockTable = context.operand(5),
       out = context.operand(6);
  uint64_t headDim = context.integer("head_dim");
  float scale = context.real("scale");
  uint64_t pages = kCache.shape[0], pageSize = kCache.shape[1];
  uint64_t kvHeads = kCache.shape[2], width = q.shape[1];
  uint64_t perKvHead = width / headDim / kvHeads;
  uint64_t maxContext = blockTable.shape[1] * pageSize;
  // Neighbours of one sequence, such as drafted tokens, look at the same rows,
  // which are widened once for so many of them.
  constexpr uint64_t kTogether = 4;
  uint64_t together = std::min(kTogether, q.shape[0]);
  context.scratch.require(double(together) * double(2 * width) +
                          double(pageSize * headDim) +
                          double(together * perKvHead) * double(maxContext));

  // How many positions token `t` sees: none when an index points outside.
  auto visibleTo = [=](uint64_t t) -> uint64_t {
    int32_t position = reinterpret_cast<const int32_t *>(positions.data)[t];
    int32_t sequence = reinterpret_cast<const int32_t *>(sequences.data)[t];
    if (position < 0 || uint64_t(position) >= maxContext || sequence < 0 ||
        uint64_t(sequence) >= blockTable.shape[0])
      return 0;
    auto *blocks = reinterpret_cast<const int32_t *>(blockTable.row(sequence));
    for (uint64_t block = 0; block <= uint64_t(position) / pageSize; ++block)
      if (blocks[block] < 0 || uint64_t(blocks[block]) >= pages)
        return 0;
    return uint64_t(position) + 1;
  };

  uint64_t most = together * perKvHead; // vectors that meet a row at a time
  return makeKernel([=, scratch = &context.scratch,
                     query = std::vector<const float *>(most),
                     scores = std::vector<float *>(most),
                     sums = std::vector<float *>(most),
                     visible = std::vector<uint64_t>(most),
                     seen =
                         std::vector<uint64_t>(most)](uint64_t count) mutable {
    float *queries = scratch->data(), *results = queries + together * width,
          *widened = results + together * width,
          *allScores = widened + pageSize * headDim;
    const auto *sequence = reinterpret_cast<const int32_t *>(sequences.data);
    for (size_t i = 0; i < scores.size(); ++i)
      scores[i] = allScores + i * maxContext;
    for (uint64_t t = 0, n = 0; t < count; t += n) {
      uint64_t context = 0;
      const float *rows[kTogether];
      for (n = 0;
           n < together && t + n < count && sequence[t + n] == sequence[t];
           ++n) {
        uint64_t sees = visibleTo(t + n);
        std::fill_n(&visible[n * perKvHead], perKvHead, sees);
        context = std::max(context, sees);
        rows[n] = asFloats(q.row(t + n), q.dtype, queries + n * width, width);
      }
      std::fill_n(results, n * width, 0.0f);
      uint64_t vectors = n * perKvHead;
      // Calls use(rows, position of the first) for each page of a cache.
      auto visit = [&](const View &cache, uint64_t kvHead, auto use) {
        auto *blocks =
            reinterpret_cast<const int32_t *>(blockTable.row(sequence[t]));
        for (uint64_t p = 0; p < context; p += pageSize)
          use(rowsOf(cache, *blocks++, kvHead, std::min(pageSize, context - p),
                     widened),
              p);
      };
      for (uint64_t kvHead = 0; context != 0 && kvHead < kvHeads; ++kvHead) {
        for (uint64_t i = 0; i < vectors; ++i) {
          uint64_t head = kvHead * perKvHead + i % perKvHead;
          query[i] = rows[i / perKvHead] + head * headDim;
          sums[i] = results + i / perKvHead * width + head * headDim;
        }
        visit(kCache, kvHead, [&](const StoredRows &keys, uint64_t p) {
          multiplyRows(keys, query.data(), vectors, scores.data(), p);
        });
        for (uint64_t i = 0; i < vectors; ++i)
          softmax(scores[i], visible[i], scale);
        visit(vCache, kvHead, [&](const StoredRows &values, uint64_t p) {
          for (uint64_t i = 0; i < vectors; ++i)
            seen[i] =
                std::min(values.count, visible[i] - std::min(visible[i], p));
          addScaledRows(values, scores.data(), p, seen.data(), vectors,
                        sums.data());
        });
      }
      for (uint64_t i = 0; i < n; ++i)
        storeRow(results + i * width, out.dtype, out.row(t + i), width);
    }
  });
}

} // namespace saddle::cpu
