// Converts C++ failures to messages in the error buffer of the C functions.

#ifndef CSENTENCEPIECE_GUARD_H
#define CSENTENCEPIECE_GUARD_H

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>

namespace csp {

inline void report(const char *message, char *error, size_t error_size) noexcept {
    if (error == nullptr || error_size == 0) return;
    const size_t length = std::strlen(message);
    const size_t kept = length < error_size - 1 ? length : error_size - 1;
    std::memcpy(error, message, kept);
    error[kept] = '\0';
}

/// Runs `body`, which returns a Status. Returns false with a message if it fails or throws.
template <typename Body>
bool guarded(char *error, size_t error_size, Body body) noexcept {
    try {
        const auto status = body();
        if (status.ok()) return true;
        report(status.ToString().c_str(), error, error_size);
    } catch (const std::exception &exception) {
        report(exception.what(), error, error_size);
    } catch (...) {
        report("an unknown C++ exception", error, error_size);
    }
    return false;
}

/// Copies `size` bytes to memory from malloc, so that a C caller can own them.
inline void *copied(const void *bytes, size_t size) {
    void *copy = std::malloc(size > 0 ? size : 1);
    if (copy == nullptr) throw std::bad_alloc();
    if (size > 0) std::memcpy(copy, bytes, size);
    return copy;
}

}  // namespace csp

#endif
