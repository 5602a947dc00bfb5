// Hashes of files and descriptions: XXH3, whose values never change between
// versions or machines. Not for adversaries, only against accidents.

#ifndef SADDLE_RUNTIME_BASE_HASH_H
#define SADDLE_RUNTIME_BASE_HASH_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace saddle {

/// XXH3-64 of `size` bytes at `data`.
uint64_t hash64(const void *data, size_t size);

/// XXH3-64 of `size` bytes at `data` with a seed.
uint64_t hash64(const void *data, size_t size, uint64_t seed);

/// hash64 of bytes that arrive in parts.
class Hasher64 {
public:
  Hasher64();
  ~Hasher64();
  Hasher64(const Hasher64 &) = delete;
  Hasher64 &operator=(const Hasher64 &) = delete;

  void update(const void *data, size_t size);
  uint64_t value() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

/// XXH3-128 of bytes that arrive in parts; equal to that of their
/// concatenation.
class Hasher128 {
public:
  Hasher128();
  ~Hasher128();
  Hasher128(const Hasher128 &) = delete;
  Hasher128 &operator=(const Hasher128 &) = delete;

  void update(const void *data, size_t size);
  /// 32 lower-case hex digits, most significant first. More may be added
  /// afterwards.
  std::string hex() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_HASH_H
