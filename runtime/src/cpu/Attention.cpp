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
  context.scratch.require(double(2 * width + headDim) +
                          double(perKvHead) * double(blockTable.shape[1]) *
                              double(pageSize));

  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *queries = scratch->data(), *result = queries + width,
          *cached = result + width, *scores = cached + headDim;
    for (uint64_t t = 0; t < count; ++t) {
      int32_t position = reinterpret_cast<const int32_t *>(positions.data)[t];
      int32_t sequence = reinterpret_cast<const int32_t *>(sequences.data)[t];
      std::fill_n(result, width, 0.0f);
      bool known = sequence >= 0 && uint64_t(sequence) < blockTable.shape[0];
      uint64_t visible =
          known && position >= 0
              ? std::min<uint64_t>(uint64_t(position) + 1, maxContext)
              : 0;
      auto *blocks = reinterpret_cast<const int32_t *>(
          known ? blockTable.row(sequence) : nullptr);
      // The slot of a position; `capacity` when its block holds no page.
      auto slotOf = [&](uint64_t p) {
        int32_t page = blocks[p / pageSize];
        return page < 0 || uint64_t(page) >= pages
                   ? pages * pageSize
                   : uint64_t(page) * pageSize + p % pageSize;
      };
      const float *query = asFloats(q.row(t), q.dtype, queries, width);

      for (uint64_t kvHead = 0; kvHead < kvHeads; ++kvHead) {
        const float *heads = query + kvHead * perKvHead * headDim;
        float *sums = result + kvHead * perKvHead * headDim;
        for (uint64_t p = 0; p < visible; ++p) {
          uint64_t slot = slotOf(p);
          if (slot == pages * pageSize) {
            for (uint64_t h = 0; h < perKvHead; ++h)
              scores[h * maxContext + p] = -INFINITY;
            continue;
          }
          const float *key = asFloats(cacheRow(kCache, slot, kvHead),
                                      kCache.dtype, cached, headDim);
          for (uint64_t h = 0; h < perKvHead; ++h)
            scores[h * maxContext + p] =
                dot(heads + h * headDim, key, headDim) * scale;
        }
        for (uint64_t h = 0; h < perKvHead; ++h) {
          float *row = scores + h * maxContext;
          float largest = -INFINITY, sum = 0;
          for (uint64_t p = 0; p < visible; ++p)
            largest = std::max(largest, row[p]);
          for (uint64_t p = 0; p < visible; ++p)
            sum += row[p] = std::exp(row[p] - largest);
          for (uint64_t p = 0; p < visible; ++p)
            row[p] /= sum;
        }
        for (uint64_t p = 0; p < visible; ++p) {
          uint64_t slot = slotOf(p);
          if (slot == pages * pageSize)
            continue;
          const float *value = asFloats(cacheRow(vCache, slot, kvHead),
                                        vCache.dtype, cached, headDim);
          for (uint64_t h = 0; h < perKvHead; ++h)
            addScaled(scores[h * maxContext + p], value, sums + h * headDim,
                      headDim);
        }
      }
      storeRow(result, out.dtype, out.row(t), width);
    }
  });
}

} // namespace saddle::cpu
