/* libtorch registers its operators before main, and ends the process without a helpful message if there
* is not enough memory. */
#define _GNU_SOURCE
#include "CStart.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The memory needed to load libtorch and run the shortest command. */
static const size_t least = 112u << 20;

static void require_memory(void) {
    void *block = mmap(NULL, least, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block != MAP_FAILED) {
        munmap(block, least);
        return;
    }
    static const char message[] =
        "swan: error: out of memory: the program alone needs some 750 MB of address space; free "
        "memory, or raise the limit (ulimit -v)\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    _exit(69);
}

/* These functions run before all constructors of shared libraries; only executables can have them. */
__attribute__((section(".preinit_array"), used)) static void (*const at_start)(void) =
    require_memory;

int cs_is_checked(void) { return at_start != NULL; }
