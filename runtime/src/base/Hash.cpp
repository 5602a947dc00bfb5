#include "runtime/src/base/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cinttypes>
#include <cstdio>

namespace saddle {

uint64_t hash64(const void *data, size_t size) {
  return XXH3_64bits(data, size);
}

uint64_t hash64(const void *data, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

struct Hasher64::State {
  XXH3_state_t xxh;
};

Hasher64::Hasher64() : state(std::make_unique<State>()) {
  XXH3_64bits_reset(&state->xxh);
}

Hasher64::~Hasher64() = default;

void Hasher64::update(const void *data, size_t size) {
  XXH3_64bits_update(&state->xxh, data, size);
}

uint64_t Hasher64::value() const { return XXH3_64bits_digest(&state->xxh); }

struct Hasher128::State {
  XXH3_state_t xxh; // aligned to 64 by its type; C++17 new respects that
};

Hasher128::Hasher128() : state(std::make_unique<State>()) {
  XXH3_128bits_reset(&state->xxh);
}

Hasher128::~Hasher128() = default;

void Hasher128::update(const void *data, size_t size) {
  XXH3_128bits_update(&state->xxh, data, size);
}

std::string Hasher128::hex() const {
  XXH128_hash_t hash = XXH3_128bits_digest(&state->xxh);
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016" PRIx64 "%016" PRIx64,
                uint64_t(hash.high64), uint64_t(hash.low64));
  return digits;
}

} // namespace saddle
