// The engine itself: version, threads, random generators, and the CUDA half, loaded on demand.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/util/Logging.h>
#include <dlfcn.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <torch/csrc/api/include/torch/version.h>

#include <string>

#include "internal.h"
#include "tiles.h"

using namespace swan;

namespace {

/// SentencePiece and libc10 both export a variable FLAGS_minloglevel, a class there and an int here. In one
/// process they share c10's storage, and SentencePiece's constructor also sets the adjacent flag, which turns
/// every failed allocation into an abort. Libraries are constructed before this is.
[[maybe_unused]] const bool refusalsThrow = [] {
    FLAGS_caffe2_use_fatal_for_enforce = false;
    return true;
}();

}  // namespace

const char *ct_version(void) { return TORCH_VERSION; }

int32_t ct_threads(void) { return at::get_num_threads(); }

void ct_set_threads(int32_t count) { at::set_num_threads(count); }

void ct_set_threads_here(int32_t count) {
    // at::set_num_threads would also set the initial number for new threads. OpenMP and MKL each keep a
    // number per thread, which the engine queries.
    using Set = void (*)(int);
    static const auto forOpenMP = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    static const auto forMKL = reinterpret_cast<int (*)(int)>(
        ::dlsym(RTLD_DEFAULT, "MKL_Set_Num_Threads_Local"));
    // The first query of a thread initializes them.
    if (at::get_num_threads() == count || forOpenMP == nullptr) return;
    forOpenMP(count);
    if (forMKL != nullptr) forMKL(count);
}

void ct_keep_freed_memory(bool keep) {
#ifdef __GLIBC__
    ::mallopt(M_MMAP_THRESHOLD, keep ? 1 << 30 : 128 << 10);
    ::mallopt(M_TRIM_THRESHOLD, keep ? 2147483647 : 128 << 10);
    ::mallopt(M_TOP_PAD, keep ? 64 << 20 : 128 << 10);
#endif
}

void ct_use_one_arena(void) {
#ifdef __GLIBC__
    ::mallopt(M_ARENA_MAX, 1);
#endif
}

const char *ct_cpu_capability(void) {
    static const std::string capability = at::get_cpu_capability();
    return capability.c_str();
}

bool ct_multiplies(int32_t dtype) {
    const bool isBFloat16 = dtype == static_cast<int32_t>(at::kBFloat16);
    if (!isBFloat16 && dtype != static_cast<int32_t>(at::kHalf)) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    return isBFloat16 ? __builtin_cpu_supports("avx512bf16") : __builtin_cpu_supports("avx512fp16");
#elif defined(__aarch64__)
    // HWCAP2_BF16 and HWCAP_ASIMDHP, which older headers do not define.
    return isBFloat16 ? getauxval(AT_HWCAP2) >> 14 & 1 : getauxval(AT_HWCAP) >> 10 & 1;
#else
    return false;
#endif
}

namespace {

/// Loads the CUDA half; returns the reason if it could not be loaded, or an empty string.
///
/// The kernels register themselves when the library is loaded, so one binary serves both devices.
const std::string &cuda_failure() {
    static const std::string failure = [] {
        const void *library = ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
        return std::string(library == nullptr ? ::dlerror() : "");
    }();
    return failure;
}

void *driver() {
    static void *const library = ::dlopen("libcuda.so.1", RTLD_LAZY);
    return library;
}

}  // namespace

void swan::findDevices() {
    // A failure is reported only when a GPU is requested.
    if (driver() != nullptr) cuda_failure();
}

bool ct_has_tiles(void) {
#if defined(__x86_64__)
    return swan::tiles::areThere();
#else
    return false;
#endif
}

int32_t ct_cuda_device_count(ct_error *error) {
    return guarded(error, int32_t(-1), [&] {
        // Without the driver there is no GPU, and loading a gigabyte of kernels would give no more
        // information.
        if (driver() == nullptr) return int32_t(0);
        TORCH_CHECK(
            cuda_failure().empty(), "the CUDA half of libtorch cannot be loaded: ", cuda_failure());
        return static_cast<int32_t>(at::detail::getCUDAHooks().deviceCount());
    });
}

bool ct_cuda_synchronize(int32_t index, ct_error *error) {
    return guarded(error, false, [&] {
        at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(index));
        return true;
    });
}

bool ct_cuda_name(int32_t index, char *name, int32_t capacity) {
    if (driver() == nullptr) return false;
    const auto start = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver(), "cuInit"));
    const auto find = reinterpret_cast<int (*)(int *, int)>(::dlsym(driver(), "cuDeviceGet"));
    const auto tell =
        reinterpret_cast<int (*)(char *, int, int)>(::dlsym(driver(), "cuDeviceGetName"));
    int device = 0;
    return start != nullptr && find != nullptr && tell != nullptr && start(0) == 0
        && find(&device, index) == 0 && tell(name, capacity, device) == 0;
}

bool ct_allows_tf32(void) {
    return at::globalContext().allowTF32CuDNN(at::Float32Op::CONV);
}

void ct_allow_tf32(bool value) {
    const auto precision = value ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
    at::globalContext().setFloat32Precision(
        at::Float32Backend::CUDA, at::Float32Op::CONV, precision);
}

ct_generator ct_generator_create(
    int32_t deviceType, int32_t deviceIndex, uint64_t seed, ct_error *error) {
    return guarded(error, static_cast<ct_generator>(nullptr), [&]() -> ct_generator {
        const auto type = static_cast<c10::DeviceType>(deviceType);
        at::Generator generator;
        if (type == c10::DeviceType::CPU) {
            generator = at::make_generator<at::CPUGeneratorImpl>(seed);
        } else {
            at::globalContext().lazyInitDevice(type);
            generator = at::detail::getCUDAHooks().getNewGenerator(
                static_cast<c10::DeviceIndex>(deviceIndex));
            generator.set_current_seed(seed);
        }
        return new ct_generator_s{std::move(generator)};
    });
}

void ct_generator_release(ct_generator generator) { delete generator; }

ct_tensor ct_generator_state(ct_generator generator, ct_error *error) {
    return guarded(error, static_cast<ct_tensor>(nullptr), [&] {
        return give(generator->generator.get_state());
    });
}

bool ct_generator_set_state(ct_generator generator, ct_tensor state, ct_error *error) {
    return guarded(error, false, [&] {
        generator->generator.set_state(borrow(state));
        return true;
    });
}
