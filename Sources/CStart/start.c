/* libtorch registers its operators before main, and ends the process without a word that helps where
 * there is no memory for that. */
#define _GNU_SOURCE
#include "CStart.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What libtorch's beginning takes, and the shortest command. */
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

/* Only an executable has such functions, which come before all constructors of its libraries. */
__attribute__((section(".preinit_array"), used)) static void (*const at_start)(void) =
    require_memory;

int cs_is_checked(void) { return at_start != NULL; }
