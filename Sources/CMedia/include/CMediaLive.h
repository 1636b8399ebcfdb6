/* Live sources, receivers and windows: a part of CMedia.h. */
#ifndef CMEDIA_LIVE_H
#define CMEDIA_LIVE_H

#ifdef __cplusplus
extern "C" {
#endif

/* A flag that cancels blocking calls. Can be raised from any thread. */
typedef struct cm_flag cm_flag;

cm_flag *cm_flag_make(void); /* NULL if out of memory */
void cm_flag_raise(cm_flag *flag);
void cm_flag_free(cm_flag *flag);

/* ---- Live sources ---- */

/* What a live source may use. Lists are FFmpeg's names separated by commas. */
typedef struct cm_live_options {
    const char *device;    /* the input device, such as "x11grab"; NULL: a network source */
    const char *formats;   /* the containers a network source may have */
    const char *protocols; /* the protocols a network source may use, also indirectly */
    const char *named;     /* those that URLs may name, also URLs in playlists */
    const char *settings;  /* FFmpeg's options, "name=value" in lines */
    double connect_seconds, read_seconds; /* limits of waiting */
    bool verifies_tls;
    const cm_flag *cancelled; /* must outlive the reader */
} cm_live_options;

/* Opens a live source and decodes its first frame. */
cm_code cm_reader_open_live(
    cm_reader **reader, const char *url, const cm_live_options *live,
    const cm_reader_options *options, cm_error *error);

/* Opens a device file and closes it, to report why it cannot be used. */
cm_code cm_device_check(const char *path, bool writing, cm_error *error);

/* ---- Sending ---- */

/* Encodes frames and sends them to a network receiver or a video device as they come. */
typedef struct cm_sender cm_sender;

typedef struct cm_sender_options {
    int width, height;
    cm_rational frame_rate; /* nominal; frames are stamped with their own times */
    int64_t bit_rate;       /* bits per second */
    const char *preset;     /* libx264's */
    bool device;            /* a video device, which takes raw frames */
    const char *protocols;
    const char *settings; /* FFmpeg's options, "name=value" in lines */
    double seconds;       /* limit of waiting for the receiver */
    const cm_flag *cancelled; /* must outlive the sender */
} cm_sender_options;

/* Connects to `url`. `format` is FFmpeg's name of the container or the output device. */
cm_code cm_sender_open(
    cm_sender **sender, const char *url, const char *format, const cm_sender_options *options,
    cm_error *error);

/* FFmpeg's name of the encoder in use. */
const char *cm_sender_encoder(const cm_sender *sender);

/* Sends a frame of 3 * width * height bytes with its time. */
cm_code cm_sender_send(
    cm_sender *sender, const uint8_t *rgb, int64_t microseconds, cm_error *error);

/* Ends the stream properly. */
cm_code cm_sender_finish(cm_sender *sender, cm_error *error);

void cm_sender_free(cm_sender *sender);

/* ---- A window ---- */

/* A window on the desktop (SDL2, loaded when the first one is opened). One thread uses it. */
typedef struct cm_window cm_window;

typedef enum cm_window_event_kind {
    CM_WINDOW_NOTHING = 0,
    CM_WINDOW_DIGIT, /* one of the keys 1 to 9 */
    CM_WINDOW_SPACE,
    CM_WINDOW_CLOSE, /* q, Esc or the window's own button */
} cm_window_event_kind;

typedef struct cm_window_event {
    cm_window_event_kind kind;
    int digit;
} cm_window_event;

/* Opens a window for frames of a size; it can be resized. */
cm_code cm_window_open(
    cm_window **window, const char *title, int width, int height, cm_error *error);

/* Shows a frame of 3 * width * height bytes; NULL shows the last one again. */
cm_code cm_window_show(cm_window *window, const uint8_t *rgb, cm_error *error);

/* The next event that means something, without waiting. */
cm_window_event cm_window_poll(cm_window *window);

void cm_window_set_title(cm_window *window, const char *title);
void cm_window_free(cm_window *window);

#ifdef __cplusplus
}
#endif

#endif
