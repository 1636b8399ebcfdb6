// NCCL's groups of processes, which `bootstrap --cuda` compiles with the headers of CUDA and the program loads
// where there are GPUs (Sources/CTorch/c10d.cpp). libtorch_cuda.so and libnccl.so must be loaded before.
#define USE_C10D_NCCL

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

/// Increases when the functions below change.
extern "C" int swan_nccl_version() { return 1; }

/// Opens a group on the current device; throws what c10d throws. The caller owns the reference.
extern "C" c10d::Backend *swan_nccl_open(
    c10d::Store *store, int rank, int size, int64_t milliseconds) {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(milliseconds);
    const auto shared = c10::intrusive_ptr<c10d::Store>::reclaim_copy(store);
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(shared, rank, size, options).release();
}
