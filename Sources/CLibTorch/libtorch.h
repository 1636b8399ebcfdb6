// libtorch has a C++ interface only, which CTorch includes by itself. This module carries the
// flags of its pkg-config file to the targets that need them.
