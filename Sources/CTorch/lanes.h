// Vectors of 4, 8 or 16 floats, loaded from float32 or bfloat16, and code compiled once for each instruction
// set that has them.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

// All functions with vector arguments are inlined, so the calling convention for vectors does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

#define SWAN_ALWAYS __attribute__((always_inline))
#define SWAN_INLINE inline SWAN_ALWAYS

namespace swan {

/// `Lanes<n>::Vector` holds n floats; loads and stores need no alignment.
template <int count>
struct Lanes;

#define SWAN_LANES(count)                                                                        \
    template <>                                                                                  \
    struct Lanes<count> {                                                                        \
        typedef float Vector __attribute__((vector_size(4 * count)));                            \
        typedef int32_t Integers __attribute__((vector_size(4 * count)));                        \
        typedef uint32_t Bits __attribute__((vector_size(4 * count)));                           \
        typedef uint16_t Halves __attribute__((vector_size(2 * count)));                         \
        typedef float Unaligned __attribute__((vector_size(4 * count), aligned(4), may_alias));  \
    }
SWAN_LANES(4);
SWAN_LANES(8);
SWAN_LANES(16);
#undef SWAN_LANES

template <int L>
using Vector = typename Lanes<L>::Vector;

template <int L>
SWAN_INLINE Vector<L> load(const float *from) {
    return *reinterpret_cast<const typename Lanes<L>::Unaligned *>(from);
}

template <int L>
SWAN_INLINE void store(float *to, Vector<L> value) {
    *reinterpret_cast<typename Lanes<L>::Unaligned *>(to) = value;
}

/// The first `count` floats, then zeros.
template <int L>
SWAN_INLINE Vector<L> loadSome(const float *from, int64_t count) {
    if (count >= L) return load<L>(from);
    Vector<L> value = {};
    if (count % 4 == 0) {
        std::memcpy(&value, from, count * sizeof(float));
    } else {
        for (int64_t i = 0; i < count; ++i) value[i] = from[i];
    }
    return value;
}

/// The first `count` floats of a vector.
template <int L>
SWAN_INLINE void storeSome(float *to, Vector<L> value, int64_t count) {
    if (count >= L) return store<L>(to, value);
    if (count % 4 == 0) {
        std::memcpy(to, &value, count * sizeof(float));
    } else {
        for (int64_t i = 0; i < count; ++i) to[i] = value[i];
    }
}

/// The first `count` of L bfloat16, then zeros.
template <int L>
SWAN_INLINE Vector<L> loadSome(const c10::BFloat16 *from, int64_t count) {
    typename Lanes<L>::Halves halves = {};
    std::memcpy(&halves, from, (count >= L ? L : count) * sizeof(uint16_t));
    const auto bits = __builtin_convertvector(halves, typename Lanes<L>::Bits) << 16;
    Vector<L> value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/// The first `count` floats of a vector, rounded to the nearest bfloat16, with ties to even.
template <int L>
SWAN_INLINE void storeSome(c10::BFloat16 *to, Vector<L> value, int64_t count) {
    typename Lanes<L>::Bits bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding would turn some NaNs into infinity.
    const auto isNumber = value == value;
    bits = isNumber ? bits : (bits & 0) + 0x7fc0;
    const auto halves = __builtin_convertvector(bits, typename Lanes<L>::Halves);
    std::memcpy(to, &halves, (count >= L ? L : count) * sizeof(uint16_t));
}

template <int L>
SWAN_INLINE Vector<L> fill(float value) {
    // Subtracting zero changes no value, so only the broadcast remains.
    return value - Vector<L>{};
}

/// Calls `body(start, L)` for each whole vector among `count` floats, then `body(start, rest)` if some are
/// left.
///
/// The remainder is split into quarters of a vector of constant size, which compile to single load and store
/// instructions: through memory, a remainder costs as much as several vectors.
template <int L, typename Body>
SWAN_INLINE void eachVector(int64_t count, const Body &body) {
    int64_t start = 0;
    for (; start + L <= count; start += L) body(start, L);
    switch (count - start) {
        case 0: return;
        case 4: return body(start, static_cast<int64_t>(4));
        case 8: return body(start, static_cast<int64_t>(8));
        case 12: return body(start, static_cast<int64_t>(12));
        default: return body(start, count - start);
    }
}

/// The number of floats in this processor's vectors.
inline int lanes() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma")) return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}

#if defined(__x86_64__)
#define SWAN_TARGET_16 __attribute__((target("avx512f,avx2,fma")))
#define SWAN_TARGET_8 __attribute__((target("avx2,fma")))
#else
#define SWAN_TARGET_16
#define SWAN_TARGET_8
#endif

}  // namespace swan
