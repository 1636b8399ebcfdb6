/* Loads FFmpeg's filters.
 *
 * libavfilter depends on dozens of libraries, so it is loaded for the first frame that needs it instead
 * of at every start of the program. */
#include <dlfcn.h>
#include <libavfilter/version.h>
#include <pthread.h>
#include <stdio.h>

#include "filters.h"
#include "internal.h"

static cm_filters library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_loaded;

static void load(void) {
    char name[32];
    snprintf(name, sizeof name, "libavfilter.so.%d", LIBAVFILTER_VERSION_MAJOR);
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return;
    const struct {
        const char *name;
        void **function;
    } functions[] = {
        {"avfilter_get_by_name", (void **)&library.get_by_name},
        {"avfilter_graph_alloc", (void **)&library.graph_alloc},
        {"avfilter_graph_free", (void **)&library.graph_free},
        {"avfilter_graph_create_filter", (void **)&library.graph_create_filter},
        {"avfilter_graph_parse_ptr", (void **)&library.graph_parse},
        {"avfilter_graph_config", (void **)&library.graph_config},
        {"avfilter_inout_alloc", (void **)&library.inout_alloc},
        {"avfilter_inout_free", (void **)&library.inout_free},
        {"av_buffersrc_add_frame_flags", (void **)&library.source_add},
        {"av_buffersink_get_frame", (void **)&library.sink_get},
        {"av_buffersink_get_time_base", (void **)&library.sink_time_base},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        *functions[i].function = dlsym(handle, functions[i].name);
        if (*functions[i].function == NULL) return;
    }
    is_loaded = true;
}

bool cm_filters_load(void) {
    pthread_once(&once, load);
    return is_loaded;
}

const cm_filters *cm_filters_loaded(void) { return cm_filters_load() ? &library : NULL; }
