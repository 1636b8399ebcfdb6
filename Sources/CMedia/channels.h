/* Audio channel layouts as AV_CH_... masks, for the APIs of both FFmpeg 4.4 and 5.1. */
#ifndef CMEDIA_CHANNELS_H
#define CMEDIA_CHANNELS_H

#include <libavcodec/avcodec.h>
#include <libswresample/swresample.h>

/* The channel mask of a frame; the default layout if the file does not specify one; 0 if
 * unknown. */
uint64_t cm_channels_of_frame(const AVFrame *frame);
int cm_set_channels_of_frame(AVFrame *frame, uint64_t channels);

uint64_t cm_channels_of_encoder(const AVCodecContext *encoder);
int cm_set_channels_of_encoder(AVCodecContext *encoder, uint64_t channels);

int cm_channel_count(uint64_t channels);

/* The smallest common layout that contains `channels`; 5.1 or stereo for larger and unusual
 * ones, which are downmixed. */
uint64_t cm_common_layout(uint64_t channels);

/* Creates a resampler from the format of `frame` to that of the encoder. */
int cm_make_resampler(
    struct SwrContext **resampler, const AVFrame *frame, const AVCodecContext *encoder);

#endif
