// Products of bfloat16 matrices by the processor's tiles (AMX), shared by linear layers, attention and
// convolutions in bfloat16.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "lanes.h"
#include "parallel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SWAN_TILES \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16,fma")))

namespace swan::tiles {

using Number = c10::BFloat16;

/// The rows and columns of a product, and its depth in one step.
constexpr int64_t side = 32;
/// The size of a step of a packed right-hand side; see `packed`.
constexpr int64_t stepSize = side * side;

inline int64_t roundedUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// Whether the processor has tiles and this process may use them.
inline bool areThere() {
    static const bool found = [] {
        __builtin_cpu_init();
        const bool hasVectors = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512bf16");
        // The kernel grants the tiles' state (XTILEDATA, 18) to processes that request it
        // (ARCH_REQ_XCOMP_PERM).
        return hasVectors && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16")
            && ::syscall(SYS_arch_prctl, 0x1023, 18) == 0;
    }();
    return found;
}

/// Sets this thread's tile configuration for `multiply`, and restores the previous one at the end: the engine
/// has its own.
class TileShape {
public:
    SWAN_TILES TileShape() {
        _tile_storeconfig(&before);
        Shape shape;
        shape.palette = 1;
        for (int tile = 0; tile < 8; ++tile) shape.rows[tile] = 16, shape.bytes[tile] = 64;
        _tile_loadconfig(&shape);
    }

    SWAN_TILES ~TileShape() {
        if (before.palette == 0) {
            _tile_release();
        } else {
            _tile_loadconfig(&before);
        }
    }

    TileShape(const TileShape &) = delete;
    TileShape &operator=(const TileShape &) = delete;

private:
    struct alignas(64) Shape {
        uint8_t palette = 0, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    };
    Shape before;
};

/// c [32, 32] = a b, or c + a b. In step s the left-hand side is the 32 x 32 numbers at `left(s)`, with rows
/// `stride` apart; the right-hand side is packed, step after step.
template <typename Left>
SWAN_TILES SWAN_INLINE void multiply(
    const Left &left, int64_t stride, const Number *right, int64_t steps, float *c, int64_t cStride,
    bool adds) {
    const int64_t bytes = stride * sizeof(Number), cBytes = cStride * sizeof(float);
    if (adds) {
        _tile_loadd(0, c, cBytes);
        _tile_loadd(1, c + 16, cBytes);
        _tile_loadd(2, c + 16 * cStride, cBytes);
        _tile_loadd(3, c + 16 * cStride + 16, cBytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    // Loads are interleaved with products: back to back, they would wait for each other's registers.
    for (int64_t step = 0; step < steps; ++step, right += stepSize) {
        const Number *const a = left(step);
        _tile_loadd(4, a, bytes);
        _tile_loadd(6, right, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + stepSize / 2, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 16 * stride, bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, cBytes);
    _tile_stored(1, c + 16, cBytes);
    _tile_stored(2, c + 16 * cStride, cBytes);
    _tile_stored(3, c + 16 * cStride + 16, cBytes);
}

/// 2^x to one part in 13,000, for finite x.
SWAN_TILES SWAN_INLINE __m512 exponential2(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(0.0551716611f);
    p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.242611121f));
    p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.693260994f));
    p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.999928067f));
    return _mm512_scalef_ps(p, whole);
}

/// Cache-line aligned memory that a thread keeps between calls.
template <typename T>
class LineScratch {
public:
    T *reserve(int64_t count) {
        if (count > size) {
            size = 0;
            memory.reset(static_cast<T *>(std::aligned_alloc(64, roundedUp(count * sizeof(T), 64))));
            if (memory == nullptr) throw std::bad_alloc();
            size = count;
        }
        return memory.get();
    }

private:
    struct Free {
        void operator()(T *pointer) const { std::free(pointer); }
    };
    std::unique_ptr<T, Free> memory;
    int64_t size = 0;
};

/// Loads the numbers whose mask bits are set as float32; the others are zero.
SWAN_TILES SWAN_INLINE __m512 loadNumbers(const Number *from, __mmask16 some = 0xffff) {
    return _mm512_cvtpbh_ps((__m256bh)_mm256_maskz_loadu_epi16(some, from));
}

/// Stores the numbers whose mask bits are set, rounded.
SWAN_TILES SWAN_INLINE void storeNumbers(Number *to, __m512 value, __mmask16 some = 0xffff) {
    _mm256_mask_storeu_epi16(to, some, (__m256i)_mm512_cvtneps_pbh(value));
}

inline const Number *numbers(const at::Tensor &tensor) {
    return static_cast<const Number *>(tensor.const_data_ptr());
}

inline Number *places(const at::Tensor &tensor) {
    return static_cast<Number *>(tensor.mutable_data_ptr());
}

inline void requireTileable(const at::Tensor &tensor) {
    TORCH_CHECK(
        tensor.scalar_type() == at::kBFloat16 && tensor.is_cpu(),
        "this operator is for bfloat16 on the CPU");
    TORCH_CHECK(areThere(), "this processor has no tiles for bfloat16 (AMX)");
}

/// A weight [O, steps of 32 inputs] in the order in which products read it: [O / 32, steps, 2, 16 pairs of
/// inputs, 16 outputs, 2].
inline at::Tensor packed(const at::Tensor &weight) {
    const int64_t panels = weight.size(0) / side, steps = weight.size(1) / side;
    const auto pairs = weight.contiguous().view(at::kInt).view({panels, 2, 16, steps, 16});
    return pairs.permute({0, 3, 1, 4, 2}).contiguous().view(at::kBFloat16).view(
        {panels, steps, 2, 16, 16, 2});
}

/// Whether `weight` is packed for these outputs and steps.
inline bool isPacked(const at::Tensor &weight, int64_t outputs, int64_t steps) {
    return weight.is_contiguous() && weight.sizes() == at::IntArrayRef({outputs / side, steps, 2, 16, 16, 2});
}

}  // namespace swan::tiles

#endif
