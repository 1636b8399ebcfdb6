#include "channels.h"

#include <libavutil/channel_layout.h>

/* FFmpeg 5.1 replaced the masks by a struct, and 7.0 removed them. */
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 24, 100)

static uint64_t mask_of(const AVChannelLayout *layout) {
    if (layout->order == AV_CHANNEL_ORDER_NATIVE) return layout->u.mask;
    AVChannelLayout standard = {0};
    av_channel_layout_default(&standard, layout->nb_channels);
    return standard.order == AV_CHANNEL_ORDER_NATIVE ? standard.u.mask : 0;
}

static int set_mask(AVChannelLayout *layout, uint64_t channels) {
    av_channel_layout_uninit(layout);
    return av_channel_layout_from_mask(layout, channels);
}

uint64_t cm_channels_of_frame(const AVFrame *frame) { return mask_of(&frame->ch_layout); }

int cm_set_channels_of_frame(AVFrame *frame, uint64_t channels) {
    return set_mask(&frame->ch_layout, channels);
}

uint64_t cm_channels_of_encoder(const AVCodecContext *encoder) {
    return mask_of(&encoder->ch_layout);
}

int cm_set_channels_of_encoder(AVCodecContext *encoder, uint64_t channels) {
    return set_mask(&encoder->ch_layout, channels);
}

int cm_make_resampler(
    struct SwrContext **resampler, const AVFrame *frame, const AVCodecContext *encoder) {
    AVChannelLayout from = {0}, to = {0};
    int status = set_mask(&from, cm_channels_of_frame(frame));
    if (status >= 0) status = set_mask(&to, cm_channels_of_encoder(encoder));
    if (status < 0) return status;
    return swr_alloc_set_opts2(
        resampler, &to, encoder->sample_fmt, encoder->sample_rate, &from, frame->format,
        frame->sample_rate, 0, NULL);
}

#else

uint64_t cm_channels_of_frame(const AVFrame *frame) {
    uint64_t channels = frame->channel_layout;
    if (cm_channel_count(channels) == frame->channels) return channels;
    return (uint64_t)av_get_default_channel_layout(frame->channels);
}

int cm_set_channels_of_frame(AVFrame *frame, uint64_t channels) {
    frame->channel_layout = channels;
    frame->channels = cm_channel_count(channels);
    return 0;
}

uint64_t cm_channels_of_encoder(const AVCodecContext *encoder) { return encoder->channel_layout; }

int cm_set_channels_of_encoder(AVCodecContext *encoder, uint64_t channels) {
    encoder->channel_layout = channels;
    encoder->channels = cm_channel_count(channels);
    return 0;
}

int cm_make_resampler(
    struct SwrContext **resampler, const AVFrame *frame, const AVCodecContext *encoder) {
    *resampler = swr_alloc_set_opts(
        NULL, (int64_t)encoder->channel_layout, encoder->sample_fmt, encoder->sample_rate,
        (int64_t)cm_channels_of_frame(frame), frame->format, frame->sample_rate, 0, NULL);
    return *resampler == NULL ? AVERROR(ENOMEM) : 0;
}

#endif

int cm_channel_count(uint64_t channels) { return __builtin_popcountll(channels); }

uint64_t cm_common_layout(uint64_t channels) {
    static const uint64_t layouts[] = {
        AV_CH_LAYOUT_MONO,    AV_CH_LAYOUT_STEREO,       AV_CH_LAYOUT_SURROUND,
        AV_CH_LAYOUT_4POINT0, AV_CH_LAYOUT_5POINT0_BACK, AV_CH_LAYOUT_5POINT1_BACK,
    };
    uint64_t sides = AV_CH_SIDE_LEFT | AV_CH_SIDE_RIGHT, back = AV_CH_BACK_LEFT | AV_CH_BACK_RIGHT;
    uint64_t wanted = channels;
    /* The two surround channels of 5.1 are named both side and back. */
    if ((wanted & sides) == sides && (wanted & back) == 0) wanted = (wanted & ~sides) | back;
    for (unsigned i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        if ((layouts[i] & wanted) == wanted) return layouts[i];
    }
    return cm_channel_count(channels) >= 5 ? AV_CH_LAYOUT_5POINT1_BACK : AV_CH_LAYOUT_STEREO;
}
