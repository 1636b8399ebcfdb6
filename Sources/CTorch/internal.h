// What the files of this target share: turning exceptions into ct_error, and handles into tensors.
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

/// The error of a ct_body on its way through the engine.
class Failure : public std::exception {
public:
    Failure(void *body, void (*release)(void *)) : held(std::make_shared<Held>(body, release)) {}

    const char *what() const noexcept override { return "a function of the caller failed"; }

    /// The error itself, which then is the receiver's to release.
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

/// A file that tensors lie in has lost bytes while it was in use.
struct DamagedFile : std::runtime_error {
    explicit DamagedFile(const std::string &path)
        : runtime_error(path + ": was cut off or changed while it was in use") {}
};

/// How many mappings a read has found to be without their bytes.
extern std::atomic<int> damagedFiles;

/// Throws a DamagedFile where a tensor lies in such a mapping.
void findDamage(const at::Tensor &tensor);

inline void requireIntact(const at::Tensor &tensor) {
    if (damagedFiles.load(std::memory_order_relaxed) != 0) findDamage(tensor);
}

inline void fill(ct_error *error, ct_error_kind kind, const std::string &message) {
    if (error == nullptr) return;
    error->kind = kind;
    error->message = ::strdup(message.c_str());
}

/// Whether the system has no memory to give right now, of a size that a kernel may want.
inline bool memoryIsShort() {
    const std::size_t size = 64u << 20;
    void *block = ::mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return true;
    ::munmap(block, size);
    return false;
}

/// Runs `body`; whatever it throws becomes an error and `failure` is returned.
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
    } catch (const c10::Error &e) {
        // The CPU allocator reports a refused allocation as a plain error.
        const std::string message = e.what_without_backtrace();
        const bool memory = message.find("DefaultCPUAllocator") != std::string::npos;
        fill(error, memory ? CT_ERROR_OUT_OF_MEMORY : CT_ERROR_OTHER, message);
    } catch (const std::bad_alloc &) {
        fill(error, CT_ERROR_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception &e) {
        // oneDNN does not say why it has no code or no memory for a kernel.
        const bool memory = std::strstr(e.what(), "could not create") != nullptr && memoryIsShort();
        fill(
            error, memory ? CT_ERROR_OUT_OF_MEMORY : CT_ERROR_OTHER,
            memory ? "there is none for a kernel" : e.what());
    } catch (...) {
        fill(error, CT_ERROR_OTHER, "an exception of an unknown type");
    }
    return failure;
}

/// Loads the CUDA half of the engine if a driver is there: the engine counts devices but once, before its
/// first gradient.
void findDevices();

inline c10::TensorImpl *impl(ct_tensor tensor) {
    return reinterpret_cast<c10::TensorImpl *>(tensor);
}

/// A tensor that takes part in the handle's reference count.
inline at::Tensor borrow(ct_tensor tensor) {
    return at::Tensor(
        c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(impl(tensor)));
}

/// Gives the reference that `tensor` holds to the caller of the C interface.
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
