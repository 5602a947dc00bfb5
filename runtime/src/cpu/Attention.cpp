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

namespace {
/// Rows of one KV head at consecutive positions of one sequence, four at a time
/// so that the loops over heads amortise widening and calls.
class CachedRows {
public:
  CachedRows(const View &cache, const int32_t *blocks, uint64_t head,
             float *scratch)
      : cache(cache), blocks(blocks), head(head), scratch(scratch) {}

  /// Fills `rows` with positions first .. first + count, count <= 4.
  void load(uint64_t first, uint64_t count, const float **rows) const {
    uint64_t pageSize = cache.shape[1], width = cache.shape[3];
    const uint8_t *stored[4];
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t p = first + i;
      uint64_t slot = uint64_t(blocks[p / pageSize]) * pageSize + p % pageSize;
      stored[i] = cacheRow(cache, slot, head);
    }
    bool isStored = cache.dtype == schema::DType::F32;
    if (!isStored)
      loadRows(stored, count, cache.dtype, scratch, width);
    for (uint64_t i = 0; i < count; ++i)
      rows[i] = isStored ? reinterpret_cast<const float *>(stored[i])
                         : scratch + i * width;
  }

private:
  const View &cache;
  const int32_t *blocks;
  uint64_t head;
  float *scratch;
};
} // namespace

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
                          double(4 * headDim) +
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

  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *queries = scratch->data(), *results = queries + together * width,
          *widened = results + together * width,
          *scores = widened + 4 * headDim;
    const auto *sequence = reinterpret_cast<const int32_t *>(sequences.data);
    for (uint64_t t = 0, n = 0; t < count; t += n) {
      uint64_t visible[kTogether], most = 0;
      const float *query[kTogether];
      for (n = 0;
           n < together && t + n < count && sequence[t + n] == sequence[t];
           ++n) {
        visible[n] = visibleTo(t + n);
        most = std::max(most, visible[n]);
        query[n] = asFloats(q.row(t + n), q.dtype, queries + n * width, width);
      }
      std::fill_n(results, n * width, 0.0f);
      // Calls use(i, p, m, rows) for each token i of the n and each run of
      // m <= 4 rows of the cache, from position p on, that it sees.
      auto visit = [&](const View &cache, uint64_t kvHead, auto use) {
        auto *blocks =
            reinterpret_cast<const int32_t *>(blockTable.row(sequence[t]));
        CachedRows cached(cache, blocks, kvHead, widened);
        const float *rows[4];
        for (uint64_t p = 0; p < most; p += 4) {
          cached.load(p, std::min<uint64_t>(4, most - p), rows);
          for (uint64_t i = 0; i < n; ++i)
            if (p < visible[i])
              use(i, p, std::min<uint64_t>(4, visible[i] - p), rows);
        }
      };
      for (uint64_t kvHead = 0; most != 0 && kvHead < kvHeads; ++kvHead) {
        uint64_t first = kvHead * perKvHead * headDim;
        auto scoresOf = [&](uint64_t i, uint64_t h) {
          return scores + (i * perKvHead + h) * maxContext;
        };
        visit(kCache, kvHead,
              [&](uint64_t i, uint64_t p, uint64_t m, const float **rows) {
                // Two heads at a time; the last one of an odd number twice.
                for (uint64_t h = 0; h < perKvHead; h += 2) {
                  uint64_t other = std::min(h + 1, perKvHead - 1);
                  const float *heads = query[i] + first;
                  float products[2][4];
                  dotMany({heads + h * headDim, heads + other * headDim}, rows,
                          m, headDim, {products[0], products[1]});
                  for (uint64_t j = 0; j < m; ++j) {
                    scoresOf(i, h)[p + j] = products[0][j] * scale;
                    scoresOf(i, other)[p + j] = products[1][j] * scale;
                  }
                }
              });
        for (uint64_t i = 0; i < n; ++i)
          for (uint64_t h = 0; h < perKvHead; ++h)
            softmax(scoresOf(i, h), visible[i]);
        visit(vCache, kvHead,
              [&](uint64_t i, uint64_t p, uint64_t m, const float **rows) {
                for (uint64_t h = 0; h < perKvHead; ++h)
                  addScaledMany(scoresOf(i, h) + p, rows, m,
                                results + i * width + first + h * headDim,
                                headDim);
              });
      }
      for (uint64_t i = 0; i < n; ++i)
        storeRow(results + i * width, out.dtype, out.row(t + i), width);
    }
  });
}

} // namespace saddle::cpu
