/* Channels of sound as sets of places (AV_CH_...), whatever FFmpeg 4.4 and 5.1 call them. */
#ifndef CMEDIA_CHANNELS_H
#define CMEDIA_CHANNELS_H

#include <libavcodec/avcodec.h>
#include <libswresample/swresample.h>

/* Where each channel of a frame stands; the usual places where the file does not say; 0: nobody
 * knows. */
uint64_t cm_channels_of_frame(const AVFrame *frame);
int cm_set_channels_of_frame(AVFrame *frame, uint64_t channels);

uint64_t cm_channels_of_encoder(const AVCodecContext *encoder);
int cm_set_channels_of_encoder(AVCodecContext *encoder, uint64_t channels);

int cm_channel_count(uint64_t channels);

/* The smallest set that every player knows and that has room for `channels`; 5.1 and stereo for
 * larger and odd ones, which are mixed down. */
uint64_t cm_usual_channels(uint64_t channels);

/* From sound such as in `frame` to what the encoder takes. */
int cm_make_resampler(
    struct SwrContext **resampler, const AVFrame *frame, const AVCodecContext *encoder);

#endif
