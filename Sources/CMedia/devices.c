/* FFmpeg's input and output devices.
 *
 * libavdevice depends on dozens of libraries of the desktop, so it is loaded when a device is named
 * instead of at every start of the program. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;

static void load(void) {
    /* The two libraries of one release of FFmpeg have the same major version. */
    char name[32];
    snprintf(name, sizeof name, "libavdevice.so.%d", LIBAVFORMAT_VERSION_MAJOR);
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    void (*registers)(void) = (void (*)(void))dlsym(library, "avdevice_register_all");
    if (registers == NULL) return;
    registers();
    loaded = true;
}

cm_code cm_devices_load(cm_error *error) {
    pthread_once(&once, load);
    if (loaded) return CM_OK;
    return cm_fail(
        error, CM_UNAVAILABLE,
        "cameras and screens need FFmpeg's library libavdevice.so.%d; install it (Debian: "
        "libavdevice%d)",
        LIBAVFORMAT_VERSION_MAJOR, LIBAVFORMAT_VERSION_MAJOR);
}

cm_code cm_device_check(const char *path, bool writing, cm_error *error) {
    int opened = open(path, (writing ? O_WRONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (opened >= 0) {
        close(opened);
        return CM_OK;
    }
    switch (errno) {
    case EACCES:
    case EPERM:
        return cm_fail(
            error, CM_UNREADABLE,
            "permission denied; add your user to the group 'video' (sudo usermod -aG video "
            "$USER) and log in again");
    case EBUSY: return cm_fail(error, CM_UNAVAILABLE, "is in use by another program");
    case ENOENT:
    case ENODEV:
    case ENXIO: return cm_fail(error, CM_NOT_FOUND, "no such device");
    default: return cm_fail(error, CM_UNAVAILABLE, "cannot be opened: %s", strerror(errno));
    }
}
