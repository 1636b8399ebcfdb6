/* Binds the functions of this module when a packaged program starts.
 *
 * FFmpeg's libraries have another ABI in each release of Debian and Ubuntu, so a program for several
 * of them cannot link them. scripts/package builds the other files of this module once for each ABI,
 * as libswan-media-NN.so beside the program (NN is the major version of libavformat), and links a stub
 * for each function, which jumps to its address in cm_functions. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the stubs. */
extern void *cm_functions[];
extern const char *const cm_function_names[];
extern const size_t cm_function_count;

static char reason[512];

/* In place of each function until it is bound: ends the program, as the loader does where it misses a
 * library that is linked. */
void cm_missing(void) {
    char message[1024];
    int size = snprintf(message, sizeof message,
        "swan: error: FFmpeg's libraries are missing: %s; install libavdevice, libavfilter and "
        "libswscale (see docs/install.md)\n",
        reason[0] ? reason : "there is no libavformat.so.58 to .61");
    ssize_t written = write(STDERR_FILENO, message, (size_t)size);
    (void)written;
    _exit(69);
}

static void *library(void) {
    for (int major = 61; major >= 58; major--) {
        char name[64];
        snprintf(name, sizeof name, "libavformat.so.%d", major);
        if (dlopen(name, RTLD_NOW | RTLD_LOCAL) == NULL) continue;
        snprintf(name, sizeof name, "$ORIGIN/libswan-media-%d.so", major);
        void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        if (handle != NULL) return handle;
        const char *error = dlerror();
        snprintf(reason, sizeof reason, "%s", error != NULL ? error : name);
    }
    return NULL;
}

__attribute__((constructor)) static void bind_functions(void) {
    void *handle = library();
    if (handle == NULL) return;
    for (size_t i = 0; i < cm_function_count; i++) {
        void *function = dlsym(handle, cm_function_names[i]);
        if (function != NULL) cm_functions[i] = function;
    }
}
