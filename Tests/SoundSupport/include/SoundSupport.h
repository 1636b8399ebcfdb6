/* For tests: writes files with audio in any codec, and decodes audio as a player would. */
#ifndef SOUND_SUPPORT_H
#define SOUND_SUPPORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sound_file {
    const char *container; /* FFmpeg's name */
    const char *encoder;
    int rate, channels;
    double start;  /* of the audio, in seconds */
    double video;  /* start of the video, in seconds; 16x16 at 25 frames per second */
    int frames;    /* of video */
    int tracks;    /* with the same audio, each at half the level of the previous one; 0: one */
} sound_file;

/* Writes `count` interleaved samples per channel. Returns 0, or FFmpeg's error. */
int sound_write(const char *path, const sound_file *file, const float *samples, int count);

typedef struct sound_heard {
    float *samples; /* mono at 8000 per second, from the first video frame on; freed by sound_free */
    int count;
    int rate, channels; /* of the track */
    double end;         /* of the audio, in seconds since the first video frame */
    char codec[32];
    uint64_t digest; /* of the packets */
    int packets;
    double pictures; /* end of the last video frame, in seconds since the first */
} sound_heard;

/* Decodes the best track. Returns 0, or FFmpeg's error. */
int sound_read(const char *path, sound_heard *heard);
void sound_free(sound_heard *heard);

/* The number of samples, at most `most`, by which `heard` is later than `meant`. */
int sound_lag(const float *meant, const float *heard, int count, int most);

/* The largest difference of loudness (root mean square) in any 10 ms. */
double sound_difference(const float *meant, const float *heard, int count);

#ifdef __cplusplus
}
#endif

#endif
