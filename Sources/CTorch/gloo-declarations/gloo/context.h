// The parts of Gloo that c10d's headers name. The library itself is inside libtorch, which ships no headers
// of it. Only pointers to these types are used here.
#pragma once

#include <chrono>

namespace gloo {
class Context {
public:
    void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
