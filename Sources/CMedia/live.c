/* Live sources: cameras, screens and network streams.
 *
 * FFmpeg opens them itself, so each source comes with the protocols and containers that it may use.
 * Whatever it opens, a playlist's segments included, passes `open_allowed`. */
#include <libavutil/avstring.h>
#include <libavutil/time.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef int open_function(
    struct AVFormatContext *, AVIOContext **, const char *, int, AVDictionary **);

struct cm_live {
    cm_deadline deadline;
    char *named; /* the protocols that URLs may name */
    double read_seconds;
    int status; /* of the last read */
    bool verifies_tls, refused;
    open_function *open;
};

/* ---- Deadlines ---- */

struct cm_flag {
    atomic_bool raised;
};

cm_flag *cm_flag_make(void) { return av_mallocz(sizeof(cm_flag)); }
void cm_flag_raise(cm_flag *flag) { atomic_store(&flag->raised, true); }
void cm_flag_free(cm_flag *flag) { av_free(flag); }
bool cm_flag_is_raised(const cm_flag *flag) {
    return atomic_load_explicit(&flag->raised, memory_order_relaxed);
}

void cm_deadline_set(cm_deadline *deadline, double seconds) {
    deadline->passed = false;
    deadline->microseconds = av_gettime_relative() + (int64_t)(seconds * 1e6);
}

static int is_over(void *opaque) {
    cm_deadline *deadline = opaque;
    if (cm_flag_is_raised(deadline->cancelled)) return 1;
    if (av_gettime_relative() < deadline->microseconds) return 0;
    deadline->passed = true;
    return 1;
}

AVIOInterruptCB cm_deadline_callback(cm_deadline *deadline) {
    return (AVIOInterruptCB){.callback = is_over, .opaque = deadline};
}

static void start_network(void) { avformat_network_init(); }

void cm_network_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_network);
}

/* ---- Errors ---- */

/* FFmpeg's log lines contain the URL with its passwords, so they are not part of the message. */
cm_code cm_fail_connection(
    cm_error *error, int status, const cm_deadline *deadline, double seconds) {
    if (cm_flag_is_raised(deadline->cancelled)) return cm_fail(error, CM_END, "interrupted");
    if (deadline->passed)
        return cm_fail(error, CM_UNAVAILABLE, "no answer within %g seconds", seconds);
    if (cm_log_saw_unknown_host())
        return cm_fail(error, CM_UNAVAILABLE, "the host's name is unknown; check its spelling");
    switch (status) {
    case AVERROR(ENOMEM): return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory");
    case AVERROR(ECONNREFUSED):
        return cm_fail(
            error, CM_UNAVAILABLE,
            "the connection was refused; check the port, and that the other side is running");
    case AVERROR(EADDRINUSE):
        return cm_fail(error, CM_UNAVAILABLE, "the port is in use by another program");
    case AVERROR(EBUSY):
        return cm_fail(error, CM_UNAVAILABLE, "is in use by another program");
    case AVERROR(ENOTTY):
    case AVERROR(ENODEV): return cm_fail(error, CM_UNAVAILABLE, "is not a camera");
    case AVERROR_PROTOCOL_NOT_FOUND:
        return cm_fail(
            error, CM_UNAVAILABLE, "this build of FFmpeg does not support the protocol");
    case AVERROR_INVALIDDATA:
        return cm_fail(error, CM_NOT_A_VIDEO, "sends something that is not a supported video");
    case AVERROR_EOF:
        return cm_fail(error, CM_UNAVAILABLE, "the other side closed the connection at once");
    default: break;
    }
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(status, text, sizeof text);
    return cm_fail(error, CM_UNAVAILABLE, "cannot be opened: %s", text);
}

/* ---- Opening ---- */

static int open_allowed(
    AVFormatContext *format, AVIOContext **io, const char *url, int flags,
    AVDictionary **options) {
    struct cm_live *live = format->opaque;
    /* HLS puts this before the URL of an encrypted segment. */
    const char *named = url;
    if (!av_strstart(url, "crypto+", &named)) av_strstart(url, "crypto:", &named);
    const char *protocol = avio_find_protocol_name(named);
    if (protocol == NULL || !av_match_list(protocol, live->named, ',')) {
        live->refused = true;
        return AVERROR(EACCES);
    }
    AVDictionary *own = NULL;
    if (options == NULL) options = &own;
    if (live->verifies_tls) av_dict_set(options, "tls_verify", "1", 0);
    int status = live->open(format, io, url, flags, options);
    av_dict_free(&own);
    return status;
}

static cm_code prepare(cm_source *source, const cm_live_options *options, cm_error *error) {
    struct cm_live *live = source->live = av_mallocz(sizeof *live);
    source->format = avformat_alloc_context();
    if (live != NULL) live->named = av_strdup(options->named);
    if (live == NULL || live->named == NULL || source->format == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a live source");
    live->deadline.cancelled = options->cancelled;
    live->read_seconds = options->read_seconds;
    live->verifies_tls = options->verifies_tls;
    AVFormatContext *format = source->format;
    live->open = format->io_open;
    format->io_open = open_allowed;
    format->opaque = live;
    format->interrupt_callback = cm_deadline_callback(&live->deadline);
    /* Looking at a stream for FFmpeg's default of five seconds would delay all that follows. */
    format->max_analyze_duration = 1500 * 1000;
    /* A camera is asked again instead of waited for without end. */
    if (options->device != NULL) format->flags |= AVFMT_FLAG_NONBLOCK;
    return CM_OK;
}

static int open_input(
    cm_source *source, const char *url, cm_input_format *device, const cm_live_options *options) {
    AVDictionary *settings = NULL;
    int status = av_dict_parse_string(&settings, options->settings, "=", "\n", 0);
    if (device == NULL) {
        av_dict_set(&settings, "protocol_whitelist", options->protocols, 0);
        av_dict_set(&settings, "format_whitelist", options->formats, 0);
    }
    if (status >= 0) status = avformat_open_input(&source->format, url, device, &settings);
    av_dict_free(&settings);
    if (status >= 0) status = avformat_find_stream_info(source->format, NULL);
    return status;
}

static cm_code connect_source(
    cm_source *source, const char *url, const cm_live_options *options, cm_error *error) {
    cm_input_format *device = NULL;
    if (options->device != NULL) {
        cm_code code = cm_devices_load(error);
        if (code != CM_OK) return code;
        device = av_find_input_format(options->device);
        if (device == NULL)
            return cm_fail(
                error, CM_UNAVAILABLE, "this build of FFmpeg has no device '%s'", options->device);
    }
    cm_network_begin();
    cm_deadline_set(&source->live->deadline, options->connect_seconds);
    int status = open_input(source, url, device, options);
    if (status >= 0) return CM_OK;
    if (source->live->refused || cm_log_saw_refusal())
        return cm_fail(
            error, CM_FORBIDDEN_FORMAT,
            "is in a format, or names a file or a protocol, that a source of this kind may not use");
    return cm_fail_connection(error, status, &source->live->deadline, options->connect_seconds);
}

cm_code cm_source_open_live(
    cm_source **result, const char *url, const cm_live_options *options, cm_error *error) {
    *result = NULL;
    cm_log_begin();
    cm_source *source = av_mallocz(sizeof *source);
    if (source == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a reader");
    atomic_init(&source->interrupted, false);
    source->descriptor = -1;
    source->length = -1;
    cm_code code = prepare(source, options, error);
    if (code == CM_OK) code = connect_source(source, url, options, error);
    if (code != CM_OK) {
        cm_source_close(&source);
        return code;
    }
    *result = source;
    return CM_OK;
}

bool cm_live_is_cancelled(const cm_source *source) {
    return source->live != NULL && cm_flag_is_raised(source->live->deadline.cancelled);
}

void cm_live_close(cm_source *source) {
    if (source->live == NULL) return;
    av_free(source->live->named);
    av_freep(&source->live);
}

/* ---- Reading ---- */

int cm_live_read(cm_source *source, AVPacket *packet) {
    struct cm_live *live = source->live;
    cm_deadline_set(&live->deadline, live->read_seconds);
    for (;;) {
        live->status = av_read_frame(source->format, packet);
        if (live->status != AVERROR(EAGAIN) || is_over(&live->deadline)) return live->status;
        av_usleep(2000);
    }
}

cm_code cm_live_end(const cm_source *source, cm_error *error) {
    const struct cm_live *live = source->live;
    if (cm_flag_is_raised(live->deadline.cancelled)) return CM_END;
    /* FFmpeg says "exit" for a read that our deadline ended. */
    if (live->deadline.passed || live->status == AVERROR_EXIT)
        return cm_fail(error, CM_LOST, "no video for %g seconds", live->read_seconds);
    if (live->status == AVERROR_EOF) return CM_END;
    if (live->status == AVERROR(ENODEV))
        return cm_fail(error, CM_LOST, "the device was disconnected");
    if (live->status == AVERROR(EIO))
        return cm_fail(error, CM_LOST, "the other side ended or the connection was lost");
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(live->status, text, sizeof text);
    return cm_fail(error, CM_LOST, "the connection was lost: %s", text);
}
