// Shared by the files of this target: turning exceptions into ct_error, and handles into tensors.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <memory>
#include <string>
#include <utility>

#include "CTorch.h"

namespace swan {

/// The error of a ct_body, passed through the engine.
class Failure : public std::exception {
public:
    Failure(void *body, void (*release)(void *)) : held(std::make_shared<Held>(body, release)) {}

    const char *what() const noexcept override { return "a function of the caller failed"; }

    /// Transfers ownership of the error to the caller, which must release it.
    void *give() const { return std::exchange(held->body, nullptr); }

private:
    struct Held {
        void *body;
        void (*const release)(void *);

        Held(void *body, void (*release)(void *)) : body(body), release(release) {}
        ~Held() { if (body != nullptr) release(body); }
    };

    // The engine copies what is thrown.
    std::shared_ptr<Held> held;
};

/// A file with tensors has lost bytes while it was in use.
struct DamagedFile : std::runtime_error {
    explicit DamagedFile(const std::string &path)
        : runtime_error(path + ": was truncated or changed while it was in use") {}
};

/// The number of mappings found by a read to have lost bytes.
extern std::atomic<int> damagedFiles;

/// Throws a DamagedFile if a tensor is in such a mapping.
void findDamage(const at::Tensor &tensor);

inline void requireIntact(const at::Tensor &tensor) {
    if (damagedFiles.load(std::memory_order_relaxed) != 0) findDamage(tensor);
}

inline void fill(ct_error *error, ct_error_kind kind, const std::string &message) {
    if (error == nullptr) return;
    error->kind = kind;
    error->message = ::strdup(message.c_str());
}

/// Whether the system currently has no memory of the size that a kernel may need.
inline bool memoryIsShort() {
    const std::size_t size = 64u << 20;
    void *block = ::mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return true;
    ::munmap(block, size);
    return false;
}

/// Runs `body`; any exception becomes an error and `failure` is returned.
template <typename Result, typename Body>
Result guarded(ct_error *error, Result failure, Body &&body) noexcept {
    try {
        return body();
    } catch (const Failure &e) {
        fill(error, CT_ERROR_OF_BODY, e.what());
        if (error != nullptr) error->body = e.give();
    } catch (const DamagedFile &e) {
        fill(error, CT_ERROR_FILE, e.what());
    } catch (const c10::OutOfMemoryError &e) {
        fill(error, CT_ERROR_OUT_OF_MEMORY, e.what_without_backtrace());
    } catch (const c10::IndexError &e) {
        fill(error, CT_ERROR_INDEX, e.what_without_backtrace());
    } catch (const c10::TypeError &e) {
        fill(error, CT_ERROR_TYPE, e.what_without_backtrace());
    } catch (const c10::DistError &e) {
        fill(error, CT_ERROR_PEER, e.what_without_backtrace());
    } catch (const c10::Error &e) {
        // The CPU allocator reports a failed allocation as a plain error.
        const std::string message = e.what_without_backtrace();
        const bool memory = message.find("DefaultCPUAllocator") != std::string::npos;
        fill(error, memory ? CT_ERROR_OUT_OF_MEMORY : CT_ERROR_OTHER, message);
    } catch (const std::bad_alloc &) {
        fill(error, CT_ERROR_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception &e) {
        // oneDNN does not tell whether it lacks code or memory for a kernel.
        const bool memory = std::strstr(e.what(), "could not create") != nullptr && memoryIsShort();
        fill(
            error, memory ? CT_ERROR_OUT_OF_MEMORY : CT_ERROR_OTHER,
            memory ? "none left for a kernel" : e.what());
    } catch (...) {
        fill(error, CT_ERROR_OTHER, "an exception of an unknown type");
    }
    return failure;
}

/// Loads the CUDA half of the engine if a driver is present: the engine counts devices only once, before its
/// first gradient.
void findDevices();

inline c10::TensorImpl *impl(ct_tensor tensor) {
    return reinterpret_cast<c10::TensorImpl *>(tensor);
}

/// A tensor that shares the handle's reference count.
inline at::Tensor borrow(ct_tensor tensor) {
    return at::Tensor(
        c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(impl(tensor)));
}

/// Transfers the reference that `tensor` holds to the caller of the C interface.
inline ct_tensor give(at::Tensor &&tensor) {
    return reinterpret_cast<ct_tensor>(tensor.unsafeReleaseTensorImpl());
}

inline c10::Device device(int64_t packed) {
    return c10::Device(
        static_cast<c10::DeviceType>(packed >> 8), static_cast<c10::DeviceIndex>((packed & 0xff) - 1));
}

}  // namespace swan

struct ct_generator_s {
    at::Generator generator;
};
