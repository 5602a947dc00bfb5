// What tests must know of the sanitizers that they are built with.

#ifndef SADDLE_TEST_UNIT_BASE_SANITIZERS_H
#define SADDLE_TEST_UNIT_BASE_SANITIZERS_H

#if defined(__has_feature)
#define SADDLE_HAS_FEATURE(feature) __has_feature(feature)
#else
#define SADDLE_HAS_FEATURE(feature) 0
#endif

namespace saddle {

/// Whether a process can live with a limit of its memory. Sanitizers reserve
/// terabytes of addresses, which no limit would allow.
#if SADDLE_HAS_FEATURE(address_sanitizer) ||                                   \
    SADDLE_HAS_FEATURE(thread_sanitizer) || defined(__SANITIZE_ADDRESS__) ||   \
    defined(__SANITIZE_THREAD__)
constexpr bool kTakesLimits = false;
#else
constexpr bool kTakesLimits = true;
#endif

} // namespace saddle

#endif // SADDLE_TEST_UNIT_BASE_SANITIZERS_H
