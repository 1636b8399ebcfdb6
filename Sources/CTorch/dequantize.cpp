// Weights in blocks that share scales, as GGUF files store them, in floating-point numbers.
//
// Products and sums are rounded one by one, in the order of the format's own implementation for NumPy (the
// package gguf, quants.py), so that results have the same bits. The layouts are those of ggml-common.h.
#include <ATen/ATen.h>
#include <c10/util/Half.h>

#include <cstring>
#include <initializer_list>

#include "operators.h"
#include "parallel.h"

#pragma STDC FP_CONTRACT OFF

namespace swan {
namespace {

// ---- Layouts ----

using Bytes = const uint8_t *;

float half(Bytes at) {
    uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
}

uint32_t word(Bytes at) {
    return at[0] | at[1] << 8 | at[2] << 16 | static_cast<uint32_t>(at[3]) << 24;
}

/// The values that the four bits of IQ4_NL and IQ4_XS stand for.
constexpr int8_t nonlinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

/// The six-bit scale of group i of eight, and its six-bit minimum, in 12 bytes.
int scale(Bytes s, int i) { return i < 4 ? s[i] & 63 : (s[i + 4] & 15) | ((s[i - 4] >> 2) & 48); }
int minimum(Bytes s, int i) { return i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | ((s[i] >> 2) & 48); }

struct Q4_0 {
    static constexpr int bytes = 18, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x);
        for (int i = 0; i < 32; ++i) y[i] = d * ((x[2 + i % 16] >> i / 16 * 4 & 15) - 8);
    }
};

struct Q4_1 {
    static constexpr int bytes = 20, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x), m = half(x + 2);
        for (int i = 0; i < 32; ++i) y[i] = d * (x[4 + i % 16] >> i / 16 * 4 & 15) + m;
    }
};

struct Q5_0 {
    static constexpr int bytes = 22, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x);
        const uint32_t high = word(x + 2);
        for (int i = 0; i < 32; ++i) {
            const int low = x[6 + i % 16] >> i / 16 * 4 & 15;
            y[i] = d * ((low | static_cast<int>(high >> i & 1) << 4) - 16);
        }
    }
};

struct Q5_1 {
    static constexpr int bytes = 24, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x), m = half(x + 2);
        const uint32_t high = word(x + 4);
        for (int i = 0; i < 32; ++i) {
            const int low = x[8 + i % 16] >> i / 16 * 4 & 15;
            y[i] = d * (low | static_cast<int>(high >> i & 1) << 4) + m;
        }
    }
};

struct Q8_0 {
    static constexpr int bytes = 34, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x);
        for (int i = 0; i < 32; ++i) y[i] = static_cast<int8_t>(x[2 + i]) * d;
    }
};

struct Q2_K {
    static constexpr int bytes = 84, elements = 256;
    static void unpack(Bytes x, float *y) {
        const float d = half(x + 80), m = half(x + 82);
        for (int group = 0; group < 16; ++group) {
            const float step = d * (x[group] & 15), least = m * (x[group] >> 4);
            for (int i = group * 16; i < group * 16 + 16; ++i) {
                const int q = x[16 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
                y[i] = step * q - least;
            }
        }
    }
};

struct Q3_K {
    static constexpr int bytes = 110, elements = 256;
    static void unpack(Bytes x, float *y) {
        const Bytes s = x + 96;
        const float d = half(x + 108);
        for (int group = 0; group < 16; ++group) {
            const int low = s[group % 8] >> group / 8 * 4 & 15;
            const int high = s[8 + group % 4] >> group / 4 * 2 & 3;
            const float step = d * ((low | high << 4) - 32);
            for (int i = group * 16; i < group * 16 + 16; ++i) {
                const int q = x[32 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
                const int bit = x[i % 32] >> i / 32 & 1;
                y[i] = step * (q - (bit ? 0 : 4));
            }
        }
    }
};

struct Q4_K {
    static constexpr int bytes = 144, elements = 256;
    static void unpack(Bytes x, float *y) {
        const float d = half(x), m = half(x + 2);
        for (int group = 0; group < 8; ++group) {
            const float step = d * scale(x + 4, group), least = m * minimum(x + 4, group);
            const Bytes q = x + 16 + group / 2 * 32;
            for (int i = 0; i < 32; ++i) {
                y[group * 32 + i] = step * (q[i] >> group % 2 * 4 & 15) - least;
            }
        }
    }
};

struct Q5_K {
    static constexpr int bytes = 176, elements = 256;
    static void unpack(Bytes x, float *y) {
        const float d = half(x), m = half(x + 2);
        for (int group = 0; group < 8; ++group) {
            const float step = d * scale(x + 4, group), least = m * minimum(x + 4, group);
            const Bytes high = x + 16, q = x + 48 + group / 2 * 32;
            for (int i = 0; i < 32; ++i) {
                const int low = q[i] >> group % 2 * 4 & 15;
                y[group * 32 + i] = step * (low | (high[i] >> group & 1) << 4) - least;
            }
        }
    }
};

struct Q6_K {
    static constexpr int bytes = 210, elements = 256;
    static void unpack(Bytes x, float *y) {
        const float d = half(x + 208);
        for (int group = 0; group < 16; ++group) {
            const float step = d * static_cast<int8_t>(x[192 + group]);
            for (int i = group * 16; i < group * 16 + 16; ++i) {
                const int low = x[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
                const int high = x[128 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
                y[i] = step * ((low | high << 4) - 32);
            }
        }
    }
};

struct IQ4_NL {
    static constexpr int bytes = 18, elements = 32;
    static void unpack(Bytes x, float *y) {
        const float d = half(x);
        for (int i = 0; i < 32; ++i) y[i] = d * nonlinear[x[2 + i % 16] >> i / 16 * 4 & 15];
    }
};

struct IQ4_XS {
    static constexpr int bytes = 136, elements = 256;
    static void unpack(Bytes x, float *y) {
        const float d = half(x);
        const int highs = x[2] | x[3] << 8;
        for (int group = 0; group < 8; ++group) {
            const int low = x[4 + group / 2] >> group % 2 * 4 & 15;
            const float step = d * ((low | (highs >> group * 2 & 3) << 4) - 32);
            const Bytes q = x + 8 + group * 16;
            for (int i = 0; i < 32; ++i) {
                y[group * 32 + i] = step * nonlinear[q[i % 16] >> i / 16 * 4 & 15];
            }
        }
    }
};

/// Calls a function with the layout that has a number in the format's list of types.
template <typename Function>
auto withLayout(int64_t format, const Function &function) {
    switch (format) {
    case 2: return function(Q4_0());
    case 3: return function(Q4_1());
    case 6: return function(Q5_0());
    case 7: return function(Q5_1());
    case 8: return function(Q8_0());
    case 10: return function(Q2_K());
    case 11: return function(Q3_K());
    case 12: return function(Q4_K());
    case 13: return function(Q5_K());
    case 14: return function(Q6_K());
    case 20: return function(IQ4_NL());
    case 23: return function(IQ4_XS());
    default: TORCH_CHECK(false, "there is no layout of blocks with the number ", format);
    }
}

// ---- On the CPU ----

template <typename Layout, typename T>
void unpackAll(const at::Tensor &blocks, at::Tensor &result) {
    const auto *from = static_cast<Bytes>(blocks.const_data_ptr());
    auto *to = static_cast<T *>(result.mutable_data_ptr());
    parallelFor(blocks.size(0), (1 << 16) / Layout::elements, [&](int64_t begin, int64_t end) {
        float values[Layout::elements];
        for (int64_t block = begin; block < end; ++block) {
            Layout::unpack(from + block * Layout::bytes, values);
            T *target = to + block * Layout::elements;
            for (int i = 0; i < Layout::elements; ++i) target[i] = static_cast<T>(values[i]);
        }
    });
}

void checkDtypes(const at::Tensor &blocks, int64_t bytes, at::ScalarType dtype) {
    TORCH_CHECK(
        blocks.dim() == 2 && blocks.size(1) == bytes && blocks.scalar_type() == at::kByte,
        "blocks of this format are uint8 [N, ", bytes, "], not ", blocks.scalar_type(), " ",
        blocks.sizes());
    TORCH_CHECK(
        dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
        "blocks are converted to float32, float16 or bfloat16, not to ", dtype);
}

at::Tensor dequantizeOnCPU(const at::Tensor &blocks, int64_t format, at::ScalarType dtype) {
    return withLayout(format, [&](auto layout) {
        using Layout = decltype(layout);
        checkDtypes(blocks, Layout::bytes, dtype);
        const auto plain = blocks.contiguous();
        auto result = at::empty(
            {plain.size(0), Layout::elements}, at::TensorOptions().dtype(dtype));
        switch (dtype) {
        case at::kFloat: unpackAll<Layout, float>(plain, result); break;
        case at::kHalf: unpackAll<Layout, at::Half>(plain, result); break;
        default: unpackAll<Layout, at::BFloat16>(plain, result);
        }
        return result;
    });
}

// ---- With the engine's operators ----

/// The columns of blocks from one on.
at::Tensor columns(const at::Tensor &blocks, int64_t from, int64_t count) {
    return blocks.narrow(1, from, count);
}

/// The float16 number in two columns: float32 [N, 1].
at::Tensor halfColumn(const at::Tensor &blocks, int64_t from) {
    return columns(blocks, from, 2).contiguous().view(at::kHalf).to(at::kFloat);
}

/// Some bits of each byte in x [N, R, C], at several positions -> [N, R, positions, C].
at::Tensor bitsOf(const at::Tensor &x, std::initializer_list<int64_t> positions, int64_t mask) {
    const auto shifts = at::tensor(at::IntArrayRef(positions), at::kLong)
                            .to(x.options())
                            .view({1, 1, static_cast<int64_t>(positions.size()), 1});
    return at::bitwise_and(at::bitwise_right_shift(x.unsqueeze(2), shifts), mask);
}

/// The same, with the columns of blocks in rows of `width`.
at::Tensor bitsOf(
    const at::Tensor &columns, int64_t width, std::initializer_list<int64_t> positions,
    int64_t mask) {
    return bitsOf(columns.reshape({columns.size(0), -1, width}), positions, mask);
}

at::Tensor joined(const at::Tensor &low, const at::Tensor &high, int64_t bits) {
    return at::bitwise_or(low, at::bitwise_left_shift(high, bits));
}

/// Integers [N, ...] minus a number, in groups that have a factor each: [N, groups, size].
at::Tensor grouped(const at::Tensor &integers, int64_t groups, int64_t offset = 0) {
    const auto numbers = integers.to(at::kFloat).reshape({integers.size(0), groups, -1});
    return offset == 0 ? numbers : numbers - static_cast<double>(offset);
}

at::Tensor nonlinearValues(const at::Tensor &indices) {
    const auto table = at::tensor(at::ArrayRef<int8_t>(nonlinear, 16), at::kChar)
                           .to(indices.device());
    return table.index_select(0, indices.reshape({-1}).to(at::kLong)).view(indices.sizes());
}

/// The scales and the minima of eight groups, [N, 8] each, in the 12 columns from `from` on.
std::pair<at::Tensor, at::Tensor> scalesAndMinima(const at::Tensor &x, int64_t from) {
    const auto a = columns(x, from, 4), b = columns(x, from + 4, 4), c = columns(x, from + 8, 4);
    const auto top = [](const at::Tensor &bytes) {
        return at::bitwise_and(at::bitwise_right_shift(bytes, 2), 48);
    };
    const auto low = at::bitwise_or(at::bitwise_and(c, 15), top(a));
    const auto high = at::bitwise_or(at::bitwise_right_shift(c, 4), top(b));
    return {
        at::cat({at::bitwise_and(a, 63), low}, 1).to(at::kFloat),
        at::cat({at::bitwise_and(b, 63), high}, 1).to(at::kFloat)};
}

/// The 32 bits in four columns, as [N, 1, 32].
at::Tensor bitColumns(const at::Tensor &x, int64_t from) {
    return bitsOf(columns(x, from, 4).unsqueeze(2), {0, 1, 2, 3, 4, 5, 6, 7}, 1)
        .reshape({x.size(0), 1, 32});
}

/// The bits of five-bit integers with their high bits in four columns, four bits in the 16 after.
at::Tensor fiveBits(const at::Tensor &x, int64_t from) {
    const auto low = bitsOf(columns(x, from + 4, 16), 16, {0, 4}, 15).reshape({x.size(0), 1, 32});
    return joined(low, bitColumns(x, from), 4);
}

/// The scale of each of 16 groups in Q3_K: [N, 16].
at::Tensor scalesOfThreeBits(const at::Tensor &x) {
    const auto low = bitsOf(columns(x, 96, 8), 8, {0, 4}, 15).reshape({x.size(0), 16});
    const auto high = bitsOf(columns(x, 104, 4), 4, {0, 2, 4, 6}, 3).reshape({x.size(0), 16});
    return joined(low, high, 4).to(at::kFloat) - 32.0;
}

at::Tensor values(const at::Tensor &x, Q4_0) {
    return halfColumn(x, 0).unsqueeze(2) * grouped(bitsOf(columns(x, 2, 16), 16, {0, 4}, 15), 1, 8);
}

at::Tensor values(const at::Tensor &x, Q4_1) {
    const auto q = grouped(bitsOf(columns(x, 4, 16), 16, {0, 4}, 15), 1);
    return halfColumn(x, 0).unsqueeze(2) * q + halfColumn(x, 2).unsqueeze(2);
}

at::Tensor values(const at::Tensor &x, Q5_0) {
    return halfColumn(x, 0).unsqueeze(2) * grouped(fiveBits(x, 2), 1, 16);
}

at::Tensor values(const at::Tensor &x, Q5_1) {
    return halfColumn(x, 0).unsqueeze(2) * grouped(fiveBits(x, 4), 1)
        + halfColumn(x, 2).unsqueeze(2);
}

at::Tensor values(const at::Tensor &x, Q8_0) {
    return columns(x, 2, 32).contiguous().view(at::kChar).to(at::kFloat) * halfColumn(x, 0);
}

at::Tensor values(const at::Tensor &x, Q2_K) {
    const auto q = grouped(bitsOf(columns(x, 16, 64), 32, {0, 2, 4, 6}, 3), 16);
    const auto s = columns(x, 0, 16);
    const auto step = halfColumn(x, 80) * at::bitwise_and(s, 15).to(at::kFloat);
    const auto least = halfColumn(x, 82) * at::bitwise_right_shift(s, 4).to(at::kFloat);
    return step.unsqueeze(2) * q - least.unsqueeze(2);
}

at::Tensor values(const at::Tensor &x, Q3_K) {
    const auto low = grouped(bitsOf(columns(x, 32, 64), 32, {0, 2, 4, 6}, 3), 16);
    const auto bit = bitsOf(columns(x, 0, 32), 32, {0, 1, 2, 3, 4, 5, 6, 7}, 1);
    const auto q = low - (1.0 - grouped(bit, 16)) * 4.0;
    return (halfColumn(x, 108) * scalesOfThreeBits(x)).unsqueeze(2) * q;
}

at::Tensor values(const at::Tensor &x, Q4_K) {
    const auto [scales, minima] = scalesAndMinima(x, 4);
    const auto q = grouped(bitsOf(columns(x, 16, 128), 32, {0, 4}, 15), 8);
    return (halfColumn(x, 0) * scales).unsqueeze(2) * q
        - (halfColumn(x, 2) * minima).unsqueeze(2);
}

at::Tensor values(const at::Tensor &x, Q5_K) {
    const auto [scales, minima] = scalesAndMinima(x, 4);
    const auto low = bitsOf(columns(x, 48, 128), 32, {0, 4}, 15).reshape({x.size(0), 8, 32});
    const auto high = bitsOf(columns(x, 16, 32), 32, {0, 1, 2, 3, 4, 5, 6, 7}, 1);
    const auto q = grouped(joined(low, high.reshape({x.size(0), 8, 32}), 4), 8);
    return (halfColumn(x, 0) * scales).unsqueeze(2) * q
        - (halfColumn(x, 2) * minima).unsqueeze(2);
}

at::Tensor values(const at::Tensor &x, Q6_K) {
    const auto low = bitsOf(columns(x, 0, 128), 64, {0, 4}, 15).reshape({x.size(0), 8, 32});
    const auto high = bitsOf(columns(x, 128, 64), 32, {0, 2, 4, 6}, 3);
    const auto q = grouped(joined(low, high.reshape({x.size(0), 8, 32}), 4), 16, 32);
    const auto scales = columns(x, 192, 16).contiguous().view(at::kChar).to(at::kFloat);
    return (halfColumn(x, 208) * scales).unsqueeze(2) * q;
}

at::Tensor values(const at::Tensor &x, IQ4_NL) {
    const auto q = nonlinearValues(bitsOf(columns(x, 2, 16), 16, {0, 4}, 15));
    return halfColumn(x, 0).unsqueeze(2) * grouped(q, 1);
}

at::Tensor values(const at::Tensor &x, IQ4_XS) {
    const auto low = bitsOf(columns(x, 4, 4).unsqueeze(2), {0, 4}, 15).reshape({x.size(0), 8});
    const auto high = bitsOf(columns(x, 2, 2).unsqueeze(2), {0, 2, 4, 6}, 3).reshape({x.size(0), 8});
    const auto scales = joined(low, high, 4).to(at::kFloat) - 32.0;
    const auto q = nonlinearValues(bitsOf(columns(x, 8, 128), 16, {0, 4}, 15));
    return (halfColumn(x, 0) * scales).unsqueeze(2) * grouped(q, 8);
}

at::Tensor dequantizeComposite(const at::Tensor &blocks, int64_t format, at::ScalarType dtype) {
    return withLayout(format, [&](auto layout) {
        using Layout = decltype(layout);
        checkDtypes(blocks, Layout::bytes, dtype);
        return values(blocks, layout).reshape({blocks.size(0), Layout::elements}).to(dtype);
    });
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    swan::define(
        library, "dequantize", "(Tensor blocks, int format, ScalarType dtype) -> Tensor",
        swan::dequantizeComposite, swan::dequantizeOnCPU);
}
