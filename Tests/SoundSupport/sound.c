#include "SoundSupport.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HAS_LAYOUTS (LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 24, 100))

static const char *layout_name(int channels) {
    return channels == 1 ? "mono" : channels == 2 ? "stereo" : channels == 4 ? "quad" : "5.1";
}

static int make_resampler(
    SwrContext **resampler, const char *from, enum AVSampleFormat from_format, int from_rate,
    const char *to, enum AVSampleFormat to_format, int to_rate) {
    SwrContext *made = *resampler = swr_alloc();
    if (made == NULL) return AVERROR(ENOMEM);
    av_opt_set(made, HAS_LAYOUTS ? "in_chlayout" : "in_channel_layout", from, 0);
    av_opt_set(made, HAS_LAYOUTS ? "out_chlayout" : "out_channel_layout", to, 0);
    av_opt_set_sample_fmt(made, "in_sample_fmt", from_format, 0);
    av_opt_set_sample_fmt(made, "out_sample_fmt", to_format, 0);
    av_opt_set_int(made, "in_sample_rate", from_rate, 0);
    av_opt_set_int(made, "out_sample_rate", to_rate, 0);
    return swr_init(made);
}

/* ---- Writing ---- */

typedef struct track {
    AVCodecContext *encoder;
    AVStream *stream;
} track;

static int add_track(track *made, AVFormatContext *muxer, AVCodecContext *encoder) {
    made->encoder = encoder;
    if (muxer->oformat->flags & AVFMT_GLOBALHEADER) encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    encoder->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    encoder->thread_count = 1;
    int status = avcodec_open2(encoder, NULL, NULL);
    if (status < 0) return status;
    made->stream = avformat_new_stream(muxer, NULL);
    if (made->stream == NULL) return AVERROR(ENOMEM);
    made->stream->time_base = encoder->time_base;
    return avcodec_parameters_from_context(made->stream->codecpar, encoder);
}

static AVCodecContext *picture_encoder(void) {
    AVCodecContext *encoder = avcodec_alloc_context3(avcodec_find_encoder(AV_CODEC_ID_MPEG4));
    if (encoder == NULL) return NULL;
    encoder->width = encoder->height = 16;
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->time_base = (AVRational){1, 25};
    encoder->framerate = (AVRational){25, 1};
    return encoder;
}

static AVCodecContext *sound_encoder(const sound_file *file) {
    const AVCodec *codec = avcodec_find_encoder_by_name(file->encoder);
    AVCodecContext *encoder = codec == NULL ? NULL : avcodec_alloc_context3(codec);
    if (encoder == NULL) return NULL;
    encoder->sample_rate = file->rate;
    encoder->sample_fmt = codec->sample_fmts[0];
    encoder->time_base = (AVRational){1, file->rate};
    encoder->bit_rate = 128000 * file->channels;
    av_opt_set(
        encoder, HAS_LAYOUTS ? "ch_layout" : "channel_layout", layout_name(file->channels), 0);
#if !HAS_LAYOUTS
    encoder->channels = file->channels;
#endif
    return encoder;
}

static int send(track *to, AVFormatContext *muxer, const AVFrame *frame, double start) {
    int status = avcodec_send_frame(to->encoder, frame);
    AVPacket *packet = av_packet_alloc();
    while (status >= 0) {
        status = avcodec_receive_packet(to->encoder, packet);
        if (status < 0) break;
        packet->stream_index = to->stream->index;
        int64_t shift = llround(start / av_q2d(to->encoder->time_base));
        packet->pts += shift;
        packet->dts += shift;
        av_packet_rescale_ts(packet, to->encoder->time_base, to->stream->time_base);
        status = av_interleaved_write_frame(muxer, packet);
    }
    av_packet_free(&packet);
    return status == AVERROR(EAGAIN) || status == AVERROR_EOF ? 0 : status;
}

static int write_pictures(track *to, AVFormatContext *muxer, const sound_file *file) {
    AVFrame *frame = av_frame_alloc();
    frame->width = frame->height = 16;
    frame->format = AV_PIX_FMT_YUV420P;
    int status = av_frame_get_buffer(frame, 0);
    for (int i = 0; i < file->frames && status >= 0; i++) {
        status = av_frame_make_writable(frame);
        for (int plane = 0; plane < 3; plane++)
            memset(frame->data[plane], 8 * i % 200, (size_t)frame->linesize[plane] * (plane ? 8 : 16));
        frame->pts = i;
        if (status >= 0) status = send(to, muxer, frame, file->video);
    }
    if (status >= 0) status = send(to, muxer, NULL, file->video);
    av_frame_free(&frame);
    return status;
}

static int write_sound(
    track *to, AVFormatContext *muxer, const sound_file *file, const float *samples, int count,
    float level) {
    SwrContext *resampler = NULL;
    AVCodecContext *encoder = to->encoder;
    const char *layout = layout_name(file->channels);
    int status = make_resampler(
        &resampler, layout, AV_SAMPLE_FMT_FLT, file->rate, layout, encoder->sample_fmt, file->rate);
    int size = encoder->frame_size > 0 ? encoder->frame_size : 1024;
    float *block = calloc((size_t)size * (size_t)file->channels, sizeof *block);
    for (int at = 0; at < count && status >= 0; at += size) {
        int taken = count - at < size ? count - at : size;
        for (int i = 0; i < taken * file->channels; i++)
            block[i] = level * samples[at * file->channels + i];
        AVFrame *frame = av_frame_alloc();
        frame->nb_samples = taken;
        frame->format = encoder->sample_fmt;
        frame->sample_rate = file->rate;
#if HAS_LAYOUTS
        av_channel_layout_copy(&frame->ch_layout, &encoder->ch_layout);
#else
        frame->channel_layout = encoder->channel_layout;
        frame->channels = encoder->channels;
#endif
        frame->pts = at;
        status = av_frame_get_buffer(frame, 0);
        const uint8_t *input = (const uint8_t *)block;
        if (status >= 0)
            status = swr_convert(resampler, frame->extended_data, taken, &input, taken);
        if (status >= 0) status = send(to, muxer, frame, file->start);
        av_frame_free(&frame);
    }
    if (status >= 0) status = send(to, muxer, NULL, file->start);
    free(block);
    swr_free(&resampler);
    return status;
}

int sound_write(const char *path, const sound_file *file, const float *samples, int count) {
    enum { most = 4 };
    track pictures = {0}, sounds[most] = {0};
    int tracks = file->tracks > 0 ? file->tracks : 1;
    AVFormatContext *muxer = NULL;
    av_log_set_level(AV_LOG_QUIET);
    int status = avformat_alloc_output_context2(&muxer, NULL, file->container, path);
    if (status >= 0) muxer->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    /* Keep timestamps before zero. */
    if (status >= 0) muxer->avoid_negative_ts = 0;
    if (status >= 0 && file->frames > 0) status = add_track(&pictures, muxer, picture_encoder());
    for (int i = 0; i < tracks && status >= 0; i++) {
        AVCodecContext *encoder = sound_encoder(file);
        status = encoder == NULL ? AVERROR_ENCODER_NOT_FOUND : add_track(&sounds[i], muxer, encoder);
    }
    if (status >= 0) status = avio_open(&muxer->pb, path, AVIO_FLAG_WRITE);
    if (status >= 0) status = avformat_write_header(muxer, NULL);
    if (status >= 0 && file->frames > 0) status = write_pictures(&pictures, muxer, file);
    for (int i = 0; i < tracks && status >= 0; i++)
        status = write_sound(&sounds[i], muxer, file, samples, count, 1.f / (float)(1 << i));
    if (status >= 0) status = av_write_trailer(muxer);
    if (muxer != NULL) {
        avio_closep(&muxer->pb);
        avformat_free_context(muxer);
    }
    avcodec_free_context(&pictures.encoder);
    for (int i = 0; i < most; i++) avcodec_free_context(&sounds[i].encoder);
    return status;
}

/* ---- Reading ---- */

enum { heard_rate = 8000, most_heard = 60 * heard_rate };

typedef struct listener {
    AVCodecContext *decoder;
    SwrContext *resampler;
    AVFrame *frame;
    AVRational unit;
    double origin;
    double time; /* of the next sample */
    int started;
    sound_heard *heard;
} listener;

static void keep(listener *to, const float *samples, int count, double time) {
    sound_heard *heard = to->heard;
    int64_t at = llround(time * heard_rate);
    for (int i = 0; i < count; i++, at++) {
        if (at < 0 || at >= most_heard) continue;
        heard->samples[at] = samples[i];
        if (at >= heard->count) heard->count = (int)at + 1;
    }
}

static int listen_to_frame(listener *to) {
    AVFrame *frame = to->frame;
    char layout[64] = "";
#if HAS_LAYOUTS
    int channels = frame->ch_layout.nb_channels;
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&frame->ch_layout, channels);
    av_channel_layout_describe(&frame->ch_layout, layout, sizeof layout);
#else
    int channels = frame->channels;
    uint64_t known = frame->channel_layout;
    if (known == 0) known = (uint64_t)av_get_default_channel_layout(channels);
    av_get_channel_layout_string(layout, sizeof layout, channels, known);
#endif
    to->heard->rate = frame->sample_rate;
    to->heard->channels = channels;
    int status = 0;
    double time = to->time;
    if (frame->best_effort_timestamp != AV_NOPTS_VALUE)
        time = (double)frame->best_effort_timestamp * av_q2d(to->unit) - to->origin;
    if (to->started && fabs(time - to->time) < 0.002) time = to->time;
    to->started = 1;
    to->time = time + (double)frame->nb_samples / frame->sample_rate;
    if (to->time > to->heard->end) to->heard->end = to->time;
    if (to->resampler == NULL)
        status = make_resampler(
            &to->resampler, layout, frame->format, frame->sample_rate, "mono", AV_SAMPLE_FMT_FLT,
            heard_rate);
    double delay = (double)swr_get_delay(to->resampler, heard_rate) / heard_rate;
    int room = swr_get_out_samples(to->resampler, frame->nb_samples);
    float *samples = calloc((size_t)room + 1, sizeof *samples);
    uint8_t *output = (uint8_t *)samples;
    if (status >= 0)
        status = swr_convert(
            to->resampler, &output, room, (const uint8_t **)frame->extended_data,
            frame->nb_samples);
    if (status > 0) keep(to, samples, status, time - delay);
    free(samples);
    return status;
}

static int listen_to_packet(listener *to, const AVPacket *packet) {
    avcodec_send_packet(to->decoder, packet);
    int status = 0;
    while (status >= 0 && avcodec_receive_frame(to->decoder, to->frame) >= 0) {
        status = listen_to_frame(to);
        av_frame_unref(to->frame);
    }
    return status < 0 ? status : 0;
}

int sound_read(const char *path, sound_heard *heard) {
    memset(heard, 0, sizeof *heard);
    heard->samples = calloc(most_heard, sizeof *heard->samples);
    heard->digest = 14695981039346656037u;
    listener to = {.heard = heard, .frame = av_frame_alloc()};
    AVFormatContext *format = NULL;
    AVPacket *packet = av_packet_alloc();
    av_log_set_level(AV_LOG_QUIET);
    int status = avformat_open_input(&format, path, NULL, NULL);
    if (status >= 0) status = avformat_find_stream_info(format, NULL);
    int video = status < 0 ? -1 : av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    int audio = status < 0 ? -1 : av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (status >= 0 && audio >= 0) {
        const AVStream *stream = format->streams[audio];
        to.unit = stream->time_base;
        to.decoder = avcodec_alloc_context3(avcodec_find_decoder(stream->codecpar->codec_id));
        avcodec_parameters_to_context(to.decoder, stream->codecpar);
        to.decoder->pkt_timebase = to.unit;
        status = avcodec_open2(to.decoder, NULL, NULL);
        snprintf(
            heard->codec, sizeof heard->codec, "%s", avcodec_get_name(stream->codecpar->codec_id));
    }
    if (status >= 0 && video >= 0 && format->streams[video]->start_time != AV_NOPTS_VALUE) {
        const AVStream *stream = format->streams[video];
        to.origin = (double)stream->start_time * av_q2d(stream->time_base);
    }
    while (status >= 0 && av_read_frame(format, packet) >= 0) {
        if (packet->stream_index == video && packet->pts != AV_NOPTS_VALUE) {
            double end = (double)(packet->pts + packet->duration)
                    * av_q2d(format->streams[video]->time_base) - to.origin;
            if (end > heard->pictures) heard->pictures = end;
        }
        if (packet->stream_index == audio) {
            for (int i = 0; i < packet->size; i++)
                heard->digest = (heard->digest ^ packet->data[i]) * 1099511628211u;
            heard->packets++;
            status = listen_to_packet(&to, packet);
        }
        av_packet_unref(packet);
    }
    if (status >= 0 && to.decoder != NULL) status = listen_to_packet(&to, NULL);
    av_packet_free(&packet);
    av_frame_free(&to.frame);
    swr_free(&to.resampler);
    avcodec_free_context(&to.decoder);
    avformat_close_input(&format);
    return status;
}

void sound_free(sound_heard *heard) {
    free(heard->samples);
    heard->samples = NULL;
}

int sound_lag(const float *meant, const float *heard, int count, int most) {
    int best = 0;
    double highest = 0; /* silence matches anything */
    for (int lag = -most; lag <= most; lag++) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            if (i + lag >= 0 && i + lag < count) sum += (double)meant[i] * heard[i + lag];
        }
        if (sum > highest) highest = sum, best = lag;
    }
    return best;
}

double sound_difference(const float *meant, const float *heard, int count) {
    enum { window = heard_rate / 100 };
    double largest = 0;
    for (int at = 0; at + window <= count; at += window) {
        double squares[2] = {0};
        for (int i = at; i < at + window; i++) {
            squares[0] += (double)meant[i] * meant[i];
            squares[1] += (double)heard[i] * heard[i];
        }
        double difference = fabs(sqrt(squares[0] / window) - sqrt(squares[1] / window));
        if (difference > largest) largest = difference;
    }
    return largest;
}
