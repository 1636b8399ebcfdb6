/* Files with sound of any codec, and what a player would hear of one, for tests. */
#ifndef SOUND_SUPPORT_H
#define SOUND_SUPPORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sound_file {
    const char *container; /* as FFmpeg calls it */
    const char *encoder;
    int rate, channels;
    double start;  /* of the sound, in seconds */
    double video;  /* where its pictures start, in seconds; 16x16, 25 a second */
    int frames;    /* pictures */
    int tracks;    /* of the same sound, each with half the level of the one before; 0: one */
} sound_file;

/* Writes `count` samples for each channel, interleaved. 0, or FFmpeg's error. */
int sound_write(const char *path, const sound_file *file, const float *samples, int count);

typedef struct sound_heard {
    float *samples; /* mono at 8000 a second, from the first picture on; freed by sound_free */
    int count;
    int rate, channels; /* of the track */
    double end;         /* of the last sample, in seconds from the first picture */
    char codec[32];
    uint64_t digest; /* of the packets */
    int packets;
    double pictures; /* when the last one ends, in seconds from the first one */
} sound_heard;

/* Decodes the best track. 0, or FFmpeg's error. */
int sound_read(const char *path, sound_heard *heard);
void sound_free(sound_heard *heard);

/* By how many samples, at most `most`, `heard` comes later than `meant`. */
int sound_lag(const float *meant, const float *heard, int count, int most);

/* The largest difference of loudness (root of the mean square) in any 10 ms. */
double sound_difference(const float *meant, const float *heard, int count);

#ifdef __cplusplus
}
#endif

#endif
