// The cost of a call from C++ itself, as a baseline for calls through the dispatcher.
#include <chrono>

#include "internal.h"

using namespace swan;

double ct_bench_add(int64_t iterations, ct_error *error) {
    return guarded(error, -1.0, [&] {
        const at::Tensor a = at::ones({16});
        const at::Tensor b = at::ones({16});
        const auto start = std::chrono::steady_clock::now();
        for (int64_t i = 0; i < iterations; ++i) at::add(a, b);
        const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
        return taken.count() / static_cast<double>(iterations);
    });
}
