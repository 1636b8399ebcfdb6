/* Reads and writes video and images through FFmpeg's libraries (4.4 to 7.1), with opaque
 * handles.
 *
 * Pixels are passed as RGB24 without row padding. A handle may be used by one thread at a time,
 * except for cm_reader_interrupt. Nothing is printed: FFmpeg's log is captured, and its last error
 * line becomes part of `cm_error`. */
#ifndef CMEDIA_H
#define CMEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cm_code {
    CM_OK = 0,
    CM_END,
    CM_NOT_FOUND,
    CM_UNREADABLE,
    CM_IS_DIRECTORY,
    CM_EMPTY,
    CM_NOT_A_VIDEO,
    CM_FORBIDDEN_FORMAT,
    CM_NO_VIDEO_STREAM,
    CM_TOO_LARGE,
    CM_UNSUPPORTED,
    CM_DECODER,
    CM_ENCODER,
    CM_CANNOT_CREATE,
    CM_DISK_FULL,
    CM_IO,
    CM_BROKEN_PIPE,
    CM_OUT_OF_MEMORY,
    CM_INVALID_ARGUMENT,
    CM_UNAVAILABLE, /* a device, display, server or library that cannot be reached */
    CM_LOST,        /* a live source or receiver that was there and is gone */
} cm_code;

/* An error message, without the file name, which the caller adds. */
typedef struct cm_error {
    cm_code code;
    char message[512];
} cm_error;

typedef struct cm_rational {
    int numerator;
    int denominator;
} cm_rational;

/* ---- Reading ---- */

typedef struct cm_reader cm_reader;

/* How a picture gets another shape. */
typedef enum cm_fit {
    CM_FIT_STRETCH, /* distorted */
    CM_FIT_CROP,    /* without its edges */
    CM_FIT_PAD,     /* with black bars */
} cm_fit;

typedef struct cm_reader_options {
    int64_t max_pixels; /* maximum pixels per frame; 0: 64 million */
    int threads;        /* decoding threads; 0: chosen by frame size */
    bool still;         /* one image: as stored, with exact colors; damage is an error */
    bool opaque;        /* alpha is dropped; otherwise, transparent parts become black */
    bool keeps_alpha;   /* with `still`: 4 bytes per pixel, RGBA */
    cm_fit fit;         /* frames of another shape than the first */
} cm_reader_options;

typedef struct cm_video_info {
    int width, height; /* as displayed, after rotation */
    cm_rational frame_rate;
    cm_rational sample_aspect_ratio; /* as displayed; 1:1 if unknown */
    int64_t frames;                  /* an estimate; 0: unknown */
    double seconds;                  /* 0: unknown */
    bool has_audio;
    bool varies; /* the average frame rate is not the nominal one */
    char codec[32];
    char format[64];
} cm_video_info;

typedef struct cm_frame_info {
    double seconds;  /* since the first frame */
    double duration; /* in seconds */
} cm_frame_info;

/* Opens a file, or standard input for "-". Playlists and scripts that refer to other files are
 * rejected. */
cm_code cm_reader_open(
    cm_reader **reader, const char *path, const cm_reader_options *options, cm_error *error);

/* Opens a file in memory. The bytes are not copied and must outlive the reader. */
cm_code cm_reader_open_memory(
    cm_reader **reader, const uint8_t *bytes, size_t size, const cm_reader_options *options,
    cm_error *error);

void cm_reader_info(const cm_reader *reader, cm_video_info *info);

/* A track of audio or subtitles besides the best audio. */
typedef struct cm_track {
    int index; /* of the stream in the file */
    bool is_audio;
    char codec[32];
    char language[16]; /* empty: unknown */
} cm_track;

/* Returns whether there is a further track with this number, from 0, and describes it. */
bool cm_reader_track(const cm_reader *reader, int number, cm_track *track);

/* Writes the next frame, 3 (4 with alpha) * width * height bytes, upright, to `rgb`. CM_END after the last one. */
cm_code cm_reader_next(
    cm_reader *reader, uint8_t *rgb, size_t capacity, cm_frame_info *info, cm_error *error);

/* Whether the file ends before its index or headers say. Final after CM_END. */
bool cm_reader_is_truncated(const cm_reader *reader);

/* The number of packets and frames that could not be decoded so far. */
int64_t cm_reader_damaged(const cm_reader *reader);

/* Whether frames so far had another size than the first, to which they were fitted. */
bool cm_reader_changes_size(const cm_reader *reader);

/* What was done to the numbers of frames so far, beyond conversion to full-range RGB. */
typedef struct cm_treatment {
    bool deinterlaced; /* both fields were interlaced in frames */
    bool tone_mapped;  /* from PQ or HLG to BT.709 */
    bool stays_high;   /* is PQ or HLG, because this FFmpeg lacks the filter */
    bool stays_combed; /* is interlaced, because libavfilter cannot be loaded */
    bool blended;      /* transparent parts became black */
} cm_treatment;

/* Loads FFmpeg's filters, which are otherwise loaded for the first frame that needs them; returns
 * whether they are there. */
bool cm_filters_load(void);

cm_treatment cm_reader_treatment(const cm_reader *reader);

/* Cancels a blocking read and all later ones. Can be called from any thread. */
void cm_reader_interrupt(cm_reader *reader);

void cm_reader_free(cm_reader *reader);

/* ---- Writing into a container ---- */

typedef struct cm_movie cm_movie;

typedef enum cm_codec {
    CM_CODEC_H264, /* yuv420p, BT.709, limited range; another encoder is used if libx264 is
                      missing */
    CM_CODEC_H264_LOSSLESS, /* RGB, unconverted */
    CM_CODEC_FFV1,          /* RGB, unconverted */
    CM_CODEC_MPEG4,         /* yuv420p, BT.709, limited range */
    CM_CODEC_VP9,           /* the same; VP8 if libvpx has no VP9 */
    CM_CODEC_GIF,           /* 256 colors, which libavfilter chooses */
    CM_CODEC_APNG,          /* RGB, unconverted */
    CM_CODEC_WEBP,          /* an animation */
} cm_codec;

typedef struct cm_movie_options {
    int width, height;
    cm_rational frame_rate;
    cm_codec codec;
    double crf;         /* H.264: 0 ... 51 */
    const char *preset; /* libx264's; NULL: veryfast */
    int threads;        /* 0: chosen by frame size */
    bool varies;        /* frames are not at multiples of the frame rate */
    int descriptor;     /* a pipe or a device to write to instead of a path; -1: the path */
} cm_movie_options;

/* Opens `path` for writing. `container` is FFmpeg's name ("mp4", "mov", "matroska"). A descriptor stays
 * the caller's; what is written to it needs no way back. */
cm_code cm_movie_open(
    cm_movie **movie, const char *path, const char *container, const cm_movie_options *options,
    cm_error *error);

/* FFmpeg's name of the encoder in use. */
const char *cm_movie_encoder(const cm_movie *movie);

/* Adds a track of audio or subtitles of the file at `path`, up to the end of the video: the stream
 * with `index`, or the best audio if that is negative. Copies it if the container supports the codec;
 * otherwise re-encodes audio. Call this before the first frame. Returns CM_OK, or the reason why the
 * video is written without it. */
cm_code cm_movie_carry(cm_movie *movie, const char *path, int index, cm_error *error);

/* FFmpeg's name of the codec of the track added last; NULL if there is none. */
const char *cm_movie_audio_codec(const cm_movie *movie);

/* FFmpeg's name of the encoder that re-encodes it; NULL if it is copied. */
const char *cm_movie_audio_encoder(const cm_movie *movie);

/* The number of frames that came too soon after the one before for the output's times. */
int64_t cm_movie_dropped(const cm_movie *movie);

/* Whether audio was written; final after cm_movie_finish. */
bool cm_movie_has_audio(const cm_movie *movie);

/* The number of audio packets that were skipped, because of damage or the container. */
int64_t cm_movie_damaged_audio(const cm_movie *movie);

/* Appends 3 * width * height bytes. */
cm_code cm_movie_append(
    cm_movie *movie, const uint8_t *rgb, double seconds, cm_error *error);

/* Flushes the encoder and writes the index. Audio after the last frame is cut, unless
 * `whole_audio`. The file is closed even on failure. */
cm_code cm_movie_finish(cm_movie *movie, bool whole_audio, cm_error *error);

void cm_movie_free(cm_movie *movie);

/* ---- Live H.264 in memory ---- */

/* An access unit in Annex B format. */
typedef struct cm_access_unit {
    const uint8_t *bytes; /* owned by the encoder and valid until the next call */
    size_t size;
    bool key; /* a key frame, with its parameter sets */
} cm_access_unit;

typedef struct cm_live_encoder_options {
    int width, height; /* even */
    double frame_rate;
    int64_t bit_rate; /* bits per second */
} cm_live_encoder_options;

/* Encodes Constrained Baseline without B-frames: each frame becomes an access unit at once. */
typedef struct cm_live_encoder cm_live_encoder;

cm_code cm_live_encoder_open(
    cm_live_encoder **encoder, const cm_live_encoder_options *options, cm_error *error);

/* Encodes 3 * width * height bytes, as a key frame if `key`. */
cm_code cm_live_encoder_encode(
    cm_live_encoder *encoder, const uint8_t *rgb, bool key, cm_access_unit *unit, cm_error *error);

void cm_live_encoder_free(cm_live_encoder *encoder);

/* Decodes access units of streams without B-frames: each one becomes a frame at once. */
typedef struct cm_live_decoder cm_live_decoder;

/* Frames of more than `max_pixels` are refused before memory is allocated for them. */
cm_code cm_live_decoder_open(cm_live_decoder **decoder, int64_t max_pixels, cm_error *error);

/* Decodes an access unit. After a failure, only a key frame can be decoded. */
cm_code cm_live_decoder_decode(
    cm_live_decoder *decoder, const uint8_t *bytes, size_t size, int *width, int *height,
    cm_error *error);

/* Writes the frame that was decoded last, 3 * width * height bytes, to `rgb`. */
cm_code cm_live_decoder_copy(
    cm_live_decoder *decoder, uint8_t *rgb, size_t capacity, cm_error *error);

void cm_live_decoder_free(cm_live_decoder *decoder);

/* Whether an access unit contains a key frame (IDR). */
bool cm_is_key_frame(const uint8_t *bytes, size_t size);

/* ---- Writing YUV4MPEG2 (4:2:0, 8 bit) ---- */

typedef struct cm_y4m cm_y4m;

/* Takes ownership of the descriptor if `owned`. A closed pipe is CM_BROKEN_PIPE, never a signal. */
cm_code cm_y4m_open(
    cm_y4m **y4m, int descriptor, bool owned, int width, int height, cm_rational frame_rate,
    cm_error *error);

cm_code cm_y4m_append(cm_y4m *y4m, const uint8_t *rgb, cm_error *error);
cm_code cm_y4m_finish(cm_y4m *y4m, cm_error *error);
void cm_y4m_free(cm_y4m *y4m);

/* ---- Files ---- */

/* Reads a file of at most `limit` bytes, or standard input for "-", into memory that the caller
 * frees. */
cm_code cm_read_file(
    const char *path, size_t limit, uint8_t **bytes, size_t *size, cm_error *error);

/* ---- Writing pictures ---- */

typedef enum cm_picture_kind { CM_PICTURE_PNG, CM_PICTURE_WEBP } cm_picture_kind;

typedef struct cm_picture cm_picture;

cm_code cm_picture_open(
    cm_picture **picture, cm_picture_kind kind, int width, int height, cm_error *error);

/* `bytes` is owned by the encoder and valid until the next call. */
cm_code cm_picture_encode(
    cm_picture *picture, const uint8_t *rgb, const uint8_t **bytes, size_t *size,
    cm_error *error);
void cm_picture_free(cm_picture *picture);

/* ---- Checksums ---- */

/* The SHA-256 of a file as 64 hexadecimal digits and a terminating zero. */
cm_code cm_sha256(const char *path, char hexadecimal[65], cm_error *error);

/* Computes a SHA-256 incrementally. Returns NULL if out of memory. */
typedef struct AVSHA cm_sha256_sum;
cm_sha256_sum *cm_sha256_begin(void);
void cm_sha256_add(cm_sha256_sum *sum, const void *bytes, size_t size);
/* Writes 64 hexadecimal digits and a terminating zero, and frees `sum`. */
void cm_sha256_end(cm_sha256_sum *sum, char hexadecimal[65]);

/* ---- Live sources, receivers and windows ---- */

#include "CMediaLive.h"

/* ---- About the libraries ---- */

/* The version, such as "5.1.9" or the distribution's name for its build. */
const char *cm_library_version(void);

/* The license of the build, such as "GPL version 2 or later". */
const char *cm_library_license(void);

/* Whether an encoder is included in the build. */
bool cm_has_encoder(const char *name);

#ifdef __cplusplus
}
#endif

#endif
