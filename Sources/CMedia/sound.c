/* The input's audio track, packet by packet, for an output that has the same pictures. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"

struct cm_sound {
    cm_source *source;
    const AVStream *track;
    AVPacket *packet;
    bool waits;    /* `packet` is not due yet */
    double origin; /* time of the first picture */
    double video_seconds;
};

static double length_of(const AVFormatContext *format, const AVStream *stream) {
    if (stream->duration > 0) return (double)stream->duration * av_q2d(stream->time_base);
    return format->duration > 0 ? (double)format->duration / AV_TIME_BASE : 0;
}

static cm_code choose_track(cm_sound *sound, cm_output_format *output, cm_error *error) {
    AVFormatContext *format = sound->source->format;
    int video = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    int audio = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, video, NULL, 0);
    if (audio < 0) return cm_fail(error, CM_UNSUPPORTED, "has no audio track");
    sound->track = format->streams[audio];
    enum AVCodecID id = sound->track->codecpar->codec_id;
    if (avformat_query_codec(output, id, FF_COMPLIANCE_NORMAL) != 1) {
        return cm_fail(
            error, CM_UNSUPPORTED, "its audio is '%s', which '%s' cannot hold",
            avcodec_get_name(id), output->name);
    }
    for (unsigned i = 0; i < format->nb_streams; i++) {
        if ((int)i != audio) format->streams[i]->discard = AVDISCARD_ALL;
    }
    if (video >= 0) {
        const AVStream *stream = format->streams[video];
        sound->video_seconds = length_of(format, stream);
        if (stream->start_time != AV_NOPTS_VALUE) {
            sound->origin = (double)stream->start_time * av_q2d(stream->time_base);
        }
    }
    return CM_OK;
}

cm_code cm_sound_open(
    cm_sound **result, const char *path, cm_output_format *output, double seconds, double tolerance,
    cm_error *error) {
    *result = NULL;
    struct stat status;
    bool regular = stat(path, &status) != 0 || S_ISREG(status.st_mode);
    if (strcmp(path, "-") == 0 || !regular) {
        return cm_fail(error, CM_UNSUPPORTED, "is a pipe, which cannot be read twice");
    }
    cm_sound *sound = av_mallocz(sizeof *sound);
    if (sound != NULL) sound->packet = av_packet_alloc();
    if (sound == NULL || sound->packet == NULL) {
        av_free(sound);
        return cm_fail(error, CM_OUT_OF_MEMORY, "no memory for its audio track");
    }
    /* No picture is decoded: their size does not matter here. */
    cm_code code = cm_source_open(&sound->source, path, NULL, 0, INT32_MAX, error);
    if (code == CM_OK) code = choose_track(sound, output, error);
    double length = sound->video_seconds;
    if (code == CM_OK && seconds > 0 && length > 0 && fabs(length - seconds) > tolerance) {
        code = cm_fail(
            error, CM_UNSUPPORTED, "its audio goes with %.2f s of video, the output has %.2f s",
            length, seconds);
    }
    if (code != CM_OK) {
        cm_sound_close(&sound);
        return code;
    }
    *result = sound;
    return CM_OK;
}

double cm_sound_video_seconds(const cm_sound *sound) { return sound->video_seconds; }

int cm_sound_describe(const cm_sound *sound, AVStream *stream) {
    int status = avcodec_parameters_copy(stream->codecpar, sound->track->codecpar);
    /* Each container has its own tags for the codecs. */
    stream->codecpar->codec_tag = 0;
    stream->time_base = sound->track->time_base;
    return status;
}

/* A file that ends, or breaks, before `end` just has less sound. */
cm_code cm_sound_write(
    cm_sound *sound, AVFormatContext *muxer, const AVStream *stream, double end, cm_error *error) {
    AVPacket *packet = sound->packet;
    AVRational unit = sound->track->time_base;
    int64_t origin = llround(sound->origin / av_q2d(unit));
    for (;;) {
        if (!sound->waits) {
            if (av_read_frame(sound->source->format, packet) < 0) return CM_OK;
            if (packet->stream_index != sound->track->index) {
                av_packet_unref(packet);
                continue;
            }
            sound->waits = true;
        }
        int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
        if (time != AV_NOPTS_VALUE && (double)(time - origin) * av_q2d(unit) >= end) return CM_OK;
        sound->waits = false;
        if (packet->pts != AV_NOPTS_VALUE) packet->pts -= origin;
        if (packet->dts != AV_NOPTS_VALUE) packet->dts -= origin;
        packet->stream_index = stream->index;
        packet->pos = -1;
        av_packet_rescale_ts(packet, unit, stream->time_base);
        int status = av_interleaved_write_frame(muxer, packet);
        /* Times that run backwards in the input are not worth the video. */
        if (status == AVERROR(EINVAL)) continue;
        if (status < 0) return cm_fail_output(error, status, false, "cannot write sound");
    }
}

void cm_sound_close(cm_sound **pointer) {
    cm_sound *sound = *pointer;
    if (sound == NULL) return;
    cm_source_close(&sound->source);
    av_packet_free(&sound->packet);
    av_free(sound);
    *pointer = NULL;
}
