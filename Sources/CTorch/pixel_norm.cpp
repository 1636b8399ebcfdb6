// Root mean square normalization over adjacent channels followed by SiLU, in one pass over memory; float32 or
// bfloat16 on the CPU, computed in float32.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>

#include "lanes.h"
#include "operators.h"
#include "parallel.h"

namespace swan {
namespace {

/// e^x to within two units in the last place, for x in -87 ... 88 (clamped to the bounds beyond).
template <int L>
SWAN_INLINE Vector<L> exponential(Vector<L> x) {
    using V = Vector<L>;
    using I = typename Lanes<L>::Integers;
    const V low = fill<L>(-87.0f), high = fill<L>(88.0f);
    x = x < low ? low : x;
    x = x > high ? high : x;
    // x = n ln 2 + r; adding 1.5 * 2^23 rounds to an integer.
    const V magic = fill<L>(12582912.0f);
    const V shifted = x * 1.44269504f + magic;
    const V n = shifted - magic;
    const V r = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = fill<L>(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    I power;
    std::memcpy(&power, &shifted, sizeof power);
    power = (power << 23) + (127 << 23);
    V scale;
    std::memcpy(&scale, &power, sizeof scale);
    return p * scale;
}

template <int L, typename T>
SWAN_INLINE void run(
    const T *x, const float *gain, T *y, int64_t pixels, int64_t channels, bool silu) {
    using V = Vector<L>;
    for (int64_t pixel = 0; pixel < pixels; ++pixel, x += channels, y += channels) {
        V squares = {};
        eachVector<L>(channels, [&](int64_t c, int64_t rest) SWAN_ALWAYS {
            const V value = loadSome<L>(x + c, rest);
            squares += value * value;
        });
        float sum = 0;
        for (int i = 0; i < L; ++i) sum += squares[i];
        const float scale = 1 / std::max(std::sqrt(sum), 1e-12f);
        eachVector<L>(channels, [&](int64_t c, int64_t rest) SWAN_ALWAYS {
            V value = loadSome<L>(x + c, rest) * scale * loadSome<L>(gain + c, rest);
            if (silu) value = value / (exponential<L>(-value) + 1.0f);
            storeSome<L>(y + c, value, rest);
        });
    }
}

template <typename T>
void run4(const T *x, const float *g, T *y, int64_t pixels, int64_t c, bool silu) {
    run<4>(x, g, y, pixels, c, silu);
}
template <typename T>
SWAN_TARGET_8 void run8(const T *x, const float *g, T *y, int64_t pixels, int64_t c, bool silu) {
    run<8>(x, g, y, pixels, c, silu);
}
template <typename T>
SWAN_TARGET_16 void run16(const T *x, const float *g, T *y, int64_t pixels, int64_t c, bool silu) {
    run<16>(x, g, y, pixels, c, silu);
}

template <typename T>
at::Tensor normalizeAll(const at::Tensor &x, const float *gains, bool silu) {
    auto result = at::empty_like(x);
    const int64_t channels = x.size(-1);
    if (channels == 0) return result;
    const T *from = static_cast<const T *>(x.const_data_ptr());
    T *to = static_cast<T *>(result.mutable_data_ptr());
    const int width = lanes();
    const auto run = width == 16 ? run16<T> : width == 8 ? run8<T> : run4<T>;
    const int64_t grain = std::max<int64_t>(1, 32768 / channels);
    parallelFor(x.numel() / channels, grain, [&](int64_t begin, int64_t end) {
        run(from + begin * channels, gains, to + begin * channels, end - begin, channels, silu);
    });
    return result;
}

void check(const at::Tensor &x, const at::Tensor &gain) {
    TORCH_CHECK(
        x.dim() > 0 && gain.dim() == 1 && x.size(-1) == gain.size(0), "the gains ", gain.sizes(),
        " do not match ", x.sizes());
}

/// x [..., C] divided by its root mean square over C, times gain [C], then SiLU if `silu`. The root mean
/// square is computed in float32, as in the reference.
at::Tensor composite(const at::Tensor &x, const at::Tensor &gain, bool silu) {
    check(x, gain);
    const auto wide = x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
    const auto length = at::linalg_vector_norm(wide, 2, at::IntArrayRef({-1}), true);
    auto y = (wide / length.clamp(1e-12)).to(x.scalar_type());
    if (wantGradients(y, gain)) {
        y = y * gain;
        return silu ? at::silu(y) : y;
    }
    y.mul_(gain);
    return silu ? at::silu_(y) : y;
}

/// The same in one pass over memory, for float32 and bfloat16.
at::Tensor onCPU(const at::Tensor &x, const at::Tensor &gain, bool silu) {
    const auto type = x.scalar_type();
    const bool isKnown = (type == at::kFloat || type == at::kBFloat16) && gain.scalar_type() == type;
    if (!isKnown || wantGradients(x, gain)) return composite(x, gain, silu);
    check(x, gain);
    const auto plain = x.contiguous(), plainGain = gain.to(at::kFloat).contiguous();
    const float *gains = static_cast<const float *>(plainGain.const_data_ptr());
    return type == at::kFloat ? normalizeAll<float>(plain, gains, silu)
                              : normalizeAll<c10::BFloat16>(plain, gains, silu);
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    swan::define(
        library, "pixel_norm", "(Tensor x, Tensor gain, bool silu) -> Tensor", swan::composite,
        swan::onCPU);
}
