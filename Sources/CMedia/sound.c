/* Adds the input's audio to an output with the same frames: copies packets, or re-encodes them
 * if the container does not support the codec. */
#include <libavutil/common.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"

struct cm_sound {
    cm_source *source;
    const AVStream *track;
    AVPacket *packet, *next;
    bool waits;          /* `packet` is not due yet */
    bool has_next;       /* neither is `next`, the packet after it */
    int64_t step;        /* the time from packet to packet */
    double origin;       /* time of the first video frame */
    cm_recoder *recoder; /* NULL: packets are copied */
    cm_outlet outlet;
};

/* The maximum length of re-encoded audio after the last video frame, in seconds: a few bytes can
 * represent hours of silence. */
static const double longest_tail = 3600;

/* ---- Reading ---- */

static cm_code choose_track(cm_sound *sound, int index, cm_error *error) {
    AVFormatContext *format = sound->source->format;
    int video = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (index < 0) index = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, video, NULL, 0);
    if (index < 0 || index >= (int)format->nb_streams)
        return cm_fail(error, CM_UNSUPPORTED, "has no audio track");
    sound->track = format->streams[index];
    for (unsigned i = 0; i < format->nb_streams; i++) {
        if ((int)i != index) format->streams[i]->discard = AVDISCARD_ALL;
    }
    const AVStream *pictures = video < 0 ? NULL : format->streams[video];
    if (pictures != NULL && pictures->start_time != AV_NOPTS_VALUE) {
        sound->origin = (double)pictures->start_time * av_q2d(pictures->time_base);
    }
    return CM_OK;
}

/* A truncated or damaged file just has less audio. */
static void read_next(cm_sound *sound) {
    while (!sound->has_next && av_read_frame(sound->source->format, sound->next) >= 0) {
        sound->has_next = sound->next->stream_index == sound->track->index;
        if (!sound->has_next) av_packet_unref(sound->next);
    }
}

static int64_t time_of(const AVPacket *packet) {
    return packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
}

/* Whether a packet is waiting. */
static bool has_packet(cm_sound *sound) {
    if (sound->waits) return true;
    read_next(sound);
    if (!sound->has_next) return false;
    av_packet_move_ref(sound->packet, sound->next);
    sound->waits = true;
    sound->has_next = false;
    read_next(sound);
    int64_t time = time_of(sound->packet);
    int64_t later = sound->has_next ? time_of(sound->next) : AV_NOPTS_VALUE;
    if (time != AV_NOPTS_VALUE && later != AV_NOPTS_VALUE && later > time)
        sound->step = av_sat_sub64(later, time);
    /* Matroska stores no durations, and MP4 would give the last packet none. */
    if (sound->packet->duration <= 0) sound->packet->duration = sound->step;
    return true;
}

cm_code cm_sound_open(cm_sound **result, const char *path, int index, cm_error *error) {
    *result = NULL;
    struct stat status;
    bool regular = stat(path, &status) != 0 || S_ISREG(status.st_mode);
    if (strcmp(path, "-") == 0 || !regular) {
        return cm_fail(error, CM_UNSUPPORTED, "is a pipe, which cannot be read twice");
    }
    cm_sound *sound = av_mallocz(sizeof *sound);
    if (sound != NULL) {
        sound->packet = av_packet_alloc();
        sound->next = av_packet_alloc();
    }
    if (sound == NULL || sound->packet == NULL || sound->next == NULL) {
        cm_sound_close(&sound);
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for its audio track");
    }
    /* No frames are decoded, so their size does not matter. */
    cm_code code = cm_source_open(&sound->source, path, NULL, 0, INT32_MAX, error);
    if (code == CM_OK) code = choose_track(sound, index, error);
    if (code == CM_OK && !has_packet(sound))
        code = cm_fail(error, CM_UNSUPPORTED, "the track is empty");
    if (code != CM_OK) {
        cm_sound_close(&sound);
        return code;
    }
    *result = sound;
    return CM_OK;
}

const char *cm_sound_codec(const cm_sound *sound) {
    return avcodec_get_name(sound->track->codecpar->codec_id);
}

bool cm_sound_is_audio(const cm_sound *sound) {
    return sound->track->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
}

/* ---- The output stream ---- */

int cm_sound_describe(const cm_sound *sound, AVStream *stream) {
    int status = 0;
    if (sound->recoder != NULL) {
        status = cm_recoder_describe(sound->recoder, stream);
    } else {
        status = avcodec_parameters_copy(stream->codecpar, sound->track->codecpar);
        /* Codec tags depend on the container. */
        stream->codecpar->codec_tag = 0;
        stream->time_base = sound->track->time_base;
    }
    stream->disposition = sound->track->disposition;
    static const char *const kept[] = {"language", "title", NULL};
    for (const char *const *key = kept; status >= 0 && *key != NULL; key++) {
        const AVDictionaryEntry *entry = av_dict_get(sound->track->metadata, *key, NULL, 0);
        if (entry != NULL) status = av_dict_set(&stream->metadata, *key, entry->value, 0);
    }
    return status;
}

void cm_sound_attach(cm_sound *sound, AVFormatContext *muxer, AVStream *stream) {
    sound->outlet = (cm_outlet){.muxer = muxer, .stream = stream};
}

static void feed_recoder(cm_sound *sound) {
    bool more = has_packet(sound);
    cm_recoder_send(sound->recoder, more ? sound->packet : NULL);
    if (more) av_packet_unref(sound->packet);
    sound->waits = false;
}

cm_code cm_sound_recode(
    cm_sound *sound, const char *encoder, cm_output_format *output, cm_error *error) {
    cm_code code = CM_OK;
    if (sound->recoder == NULL)
        code = cm_recoder_open(&sound->recoder, sound->track, sound->origin, error);
    /* Only decoded audio reliably has the number of channels and the sample rate. */
    while (code == CM_OK && (code = cm_recoder_hold(sound->recoder, error)) == CM_END) {
        feed_recoder(sound);
        code = CM_OK;
    }
    return code == CM_OK ? cm_recoder_start(sound->recoder, encoder, output, error) : code;
}

bool cm_sound_was_written(const cm_sound *sound) { return sound->outlet.written > 0; }

int64_t cm_sound_damaged(const cm_sound *sound) {
    int64_t lost = sound->recoder == NULL ? 0 : cm_recoder_damaged(sound->recoder);
    return lost + sound->outlet.refused;
}

/* ---- Writing ---- */

/* Before FFmpeg 6, the Matroska muxer writes how much of the start a player skips, but does not
 * include it in the timestamps, so the audio would be early by that amount. */
static int64_t muxer_delay(const cm_outlet *outlet) {
#if LIBAVFORMAT_VERSION_MAJOR < 60
    const AVCodecParameters *parameters = outlet->stream->codecpar;
    if (parameters->sample_rate > 0 && strcmp(outlet->muxer->oformat->name, "matroska") == 0) {
        AVRational sample = {1, parameters->sample_rate};
        return av_rescale_q(parameters->initial_padding, sample, outlet->stream->time_base);
    }
#endif
    (void)outlet;
    return 0;
}

cm_code cm_outlet_write(cm_outlet *outlet, AVPacket *packet, AVRational unit, cm_error *error) {
    packet->stream_index = outlet->stream->index;
    packet->pos = -1;
    av_packet_rescale_ts(packet, unit, outlet->stream->time_base);
    int64_t delay = muxer_delay(outlet);
    if (packet->pts != AV_NOPTS_VALUE) packet->pts = av_sat_add64(packet->pts, delay);
    if (packet->dts != AV_NOPTS_VALUE) packet->dts = av_sat_add64(packet->dts, delay);
    int status = av_interleaved_write_frame(outlet->muxer, packet);
    if (outlet->muxer->pb->error < 0) status = outlet->muxer->pb->error;
    /* Skip packets that the container rejects (decreasing timestamps, damage), but report errors
     * of the system. */
    bool refused = status == AVERROR(EINVAL) || status < -4096;
    if (status < 0 && !refused) return cm_fail_output(error, status, false, "cannot be written");
    if (refused) outlet->refused++;
    if (status >= 0) outlet->written++;
    return CM_OK;
}

static cm_code copy_until(cm_sound *sound, double end, cm_error *error) {
    AVPacket *packet = sound->packet;
    AVRational unit = sound->track->time_base;
    int64_t origin = llround(sound->origin / av_q2d(unit));
    cm_code code = CM_OK;
    while (code == CM_OK && has_packet(sound)) {
        int64_t time = time_of(packet);
        bool known = time != AV_NOPTS_VALUE;
        if (known && (double)av_sat_sub64(time, origin) * av_q2d(unit) >= end) return CM_OK;
        sound->waits = false;
        if (packet->pts != AV_NOPTS_VALUE) packet->pts = av_sat_sub64(packet->pts, origin);
        if (packet->dts != AV_NOPTS_VALUE) packet->dts = av_sat_sub64(packet->dts, origin);
        code = cm_outlet_write(&sound->outlet, packet, unit, error);
    }
    return code;
}

static cm_code recode_until(cm_sound *sound, double end, double pictures, cm_error *error) {
    for (;;) {
        cm_code code = cm_recoder_pass(sound->recoder, &sound->outlet, end, pictures, error);
        if (code != CM_END) return code;
        feed_recoder(sound);
    }
}

cm_code cm_sound_write(cm_sound *sound, double pictures, cm_error *error) {
    if (sound->recoder == NULL) return copy_until(sound, pictures, error);
    return recode_until(sound, pictures, pictures, error);
}

cm_code cm_sound_finish(cm_sound *sound, double pictures, bool whole, cm_error *error) {
    if (sound->recoder == NULL) return copy_until(sound, whole ? INFINITY : pictures, error);
    double end = whole ? pictures + longest_tail : pictures;
    cm_code code = recode_until(sound, end, pictures, error);
    if (code == CM_OK) code = cm_recoder_finish(sound->recoder, &sound->outlet, error);
    return code;
}

void cm_sound_close(cm_sound **pointer) {
    cm_sound *sound = *pointer;
    if (sound == NULL) return;
    cm_recoder_close(&sound->recoder);
    cm_source_close(&sound->source);
    av_packet_free(&sound->packet);
    av_packet_free(&sound->next);
    av_free(sound);
    *pointer = NULL;
}
