/* Errors, and FFmpeg's log, which is process-wide: it is captured per thread and never printed. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static _Thread_local char last_line[200];
static _Thread_local bool too_many_pixels;
static _Thread_local bool early_end;
static _Thread_local bool refusal;
static _Thread_local bool unknown_host;

static void catch_line(void *context, int level, const char *format, va_list arguments) {
    (void)context;
    if (level > AV_LOG_ERROR) return;
    char line[sizeof last_line];
    vsnprintf(line, sizeof line, format, arguments);
    size_t length = 0;
    for (; line[length] != '\0'; length++) {
        /* Lines contain names and tags from the file: remove control characters. */
        if ((unsigned char)line[length] < ' ' || line[length] == 0x7f) line[length] = ' ';
    }
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '.'))
        line[--length] = '\0';
    if (length == 0) return;
    if (strstr(line, "exceeds specified max pixel count") != NULL) too_many_pixels = true;
    /* A size whose number of bytes overflows in FFmpeg. */
    unsigned width = 0, height = 0;
    const char *size = strstr(line, "Picture size ");
    if (size != NULL && strstr(size, "is invalid") != NULL
        && sscanf(size, "Picture size %ux%u", &width, &height) == 2 && width > 0 && height > 0) {
        too_many_pixels = true;
    }
    if (strstr(line, "ended prematurely") != NULL || strstr(line, "partial file") != NULL)
        early_end = true;
    if (strstr(line, "on whitelist") != NULL || strstr(line, "for security reasons") != NULL)
        refusal = true;
    if (strstr(line, "Failed to resolve hostname") != NULL) unknown_host = true;
    memcpy(last_line, line, length + 1);
}

static void install_log(void) { av_log_set_callback(catch_line); }

void cm_log_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_log);
    last_line[0] = '\0';
    too_many_pixels = false;
    early_end = false;
    refusal = false;
    unknown_host = false;
}

bool cm_log_saw_too_many_pixels(void) { return too_many_pixels; }
bool cm_log_saw_early_end(void) { return early_end; }
bool cm_log_saw_refusal(void) { return refusal; }
bool cm_log_saw_unknown_host(void) { return unknown_host; }

cm_code cm_fail(cm_error *error, cm_code code, const char *format, ...) {
    if (error == NULL) return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return code;
}

static void append(cm_error *error, const char *before, const char *text, const char *after) {
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, "%s%s%s", before, text, after);
}

cm_code cm_fail_av(cm_error *error, cm_code code, int status, const char *format, ...) {
    if (status == AVERROR(ENOMEM)) code = CM_OUT_OF_MEMORY;
    if (error == NULL) return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(status, text, sizeof text);
    append(error, ": ", text, "");
    if (last_line[0] != '\0') append(error, " (", last_line, ")");
    return code;
}

cm_code cm_code_of_errno(int number, bool creating) {
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return CM_DISK_FULL;
    case EPIPE: return CM_BROKEN_PIPE;
    case ENOMEM: return CM_OUT_OF_MEMORY;
    default: return creating ? CM_CANNOT_CREATE : CM_IO;
    }
}

cm_code cm_fail_output(cm_error *error, int status, bool creating, const char *problem) {
    /* FFmpeg's codes are large tags; the system's are negated errno values. */
    bool from_system = status < 0 && status > -4096;
    cm_code code = from_system ? cm_code_of_errno(-status, creating) : CM_IO;
    /* If the disk is full, the output could be created but not written. */
    return cm_fail_av(
        error, code, status, "%s", code == CM_DISK_FULL ? "cannot be written" : problem);
}

const char *cm_library_version(void) { return av_version_info(); }
const char *cm_library_license(void) { return avformat_license(); }
bool cm_has_encoder(const char *name) { return avcodec_find_encoder_by_name(name) != NULL; }
