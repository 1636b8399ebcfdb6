// Parallel loops on the engine's threads, in code that is compiled without OpenMP.
#pragma once

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace swan {

/// Calls `body(begin, end)` for parts of 0 ..< count of `grain` each; rethrows an exception of one of the
/// calls.
///
/// at::parallel_for is a plain loop if the compiler has no OpenMP, and another OpenMP runtime than the
/// engine's would create threads of its own. This calls the engine's runtime at the function that GCC's
/// `#pragma omp parallel` calls. Threads take the next part when they finish one, so that a thread kept off
/// its core does not hold up the others.
template <typename Body>
void parallelFor(int64_t count, int64_t grain, const Body &body) {
    using Enter = void (*)(void (*)(void *), void *, unsigned, unsigned);
    static const auto enter = reinterpret_cast<Enter>(::dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    const int64_t parts = (count + grain - 1) / grain;
    const int64_t threads = std::min<int64_t>(at::get_num_threads(), parts);
    if (threads <= 1 || enter == nullptr || at::in_parallel_region()) return body(0, count);
    struct Work {
        const Body &body;
        const int64_t count, grain;
        std::atomic<int64_t> next{0};
        std::atomic_flag hasFailed;
        std::exception_ptr failure;
    } work{body, count, grain};
    const auto share = [](void *argument) {
        auto &work = *static_cast<Work *>(argument);
        for (;;) {
            const int64_t begin = work.next.fetch_add(work.grain, std::memory_order_relaxed);
            if (begin >= work.count) return;
            try {
                work.body(begin, std::min(begin + work.grain, work.count));
            } catch (...) {
                // Exceptions must not leave the parallel region; the other parts are no longer needed.
                if (!work.hasFailed.test_and_set()) work.failure = std::current_exception();
                work.next.store(work.count, std::memory_order_relaxed);
            }
        }
    };
    enter(share, &work, static_cast<unsigned>(threads), 0);
    if (work.failure != nullptr) std::rethrow_exception(work.failure);
}

}  // namespace swan
