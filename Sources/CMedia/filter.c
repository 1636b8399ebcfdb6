/* Makes decoded frames progressive and of standard dynamic range, with FFmpeg's filters. */
#include <stdio.h>
#include <string.h>

#include "filters.h"
#include "internal.h"

/* Whether there is the filter that converts PQ and HLG. */
static bool maps_tones(void) { return cm_filters_load() && cm_filters_loaded()->get_by_name("zscale") != NULL; }

/* ---- Frames ---- */

typedef struct cm_frame_key {
    int width, height, format, transfer;
} cm_frame_key;

struct cm_filter {
    AVFilterGraph *graph;
    AVFilterContext *source, *sink;
    cm_frame_key key;
    cm_treatment treatment;
    AVFrame *pending; /* of another kind than those in the graph */
    bool ends, ended;
};

bool cm_is_interlaced(const AVFrame *frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return frame->interlaced_frame != 0;
#endif
}

bool cm_is_high_dynamic_range(const AVFrame *frame) {
    return frame->color_trc == AVCOL_TRC_SMPTE2084 || frame->color_trc == AVCOL_TRC_ARIB_STD_B67;
}

static cm_frame_key key_of(const AVFrame *frame) {
    return (cm_frame_key){
        .width = frame->width,
        .height = frame->height,
        .format = frame->format,
        .transfer = frame->color_trc,
    };
}

bool cm_filter_is_needed(const cm_filter *filter, const AVFrame *frame) {
    if (filter != NULL) return true;
    return (cm_is_interlaced(frame) && cm_filters_load())
        || (cm_is_high_dynamic_range(frame) && maps_tones());
}

/* Linear light, tone mapping of what is brighter than white, and back to BT.709. Diffuse white is
 * at 203 cd/m2 (ITU-R BT.2408). */
static const char tone_mapping[] =
    "zscale=transfer=linear:npl=203,format=gbrpf32le,zscale=primaries=bt709,"
    "tonemap=tonemap=mobius:desat=0,zscale=transfer=bt709:matrix=bt709:range=tv,format=yuv444p";
/* Only frames that are marked as interlaced; one frame for two fields. */
static const char deinterlacing[] = "bwdif=mode=send_frame:parity=auto:deint=interlaced";

static cm_code add_ends(
    cm_filter *filter, const AVFrame *frame, AVRational time_base, cm_error *error) {
    char arguments[256];
    AVRational aspect = frame->sample_aspect_ratio;
    snprintf(
        arguments, sizeof arguments, "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=%d/%d",
        frame->width, frame->height, frame->format, time_base.num, time_base.den,
        aspect.num < 0 ? 0 : aspect.num, aspect.den < 1 ? 1 : aspect.den);
    int status = cm_filters_loaded()->graph_create_filter(
        &filter->source, cm_filters_loaded()->get_by_name("buffer"), "in", arguments, NULL, filter->graph);
    if (status >= 0) {
        status = cm_filters_loaded()->graph_create_filter(
            &filter->sink, cm_filters_loaded()->get_by_name("buffersink"), "out", NULL, NULL, filter->graph);
    }
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot filter frames");
    return CM_OK;
}

static cm_code link_filters(cm_filter *filter, const char *description, cm_error *error) {
    AVFilterInOut *from = cm_filters_loaded()->inout_alloc(), *to = cm_filters_loaded()->inout_alloc();
    int status = AVERROR(ENOMEM);
    if (from != NULL && to != NULL) {
        *from = (AVFilterInOut){.name = av_strdup("in"), .filter_ctx = filter->source};
        *to = (AVFilterInOut){.name = av_strdup("out"), .filter_ctx = filter->sink};
        status = cm_filters_loaded()->graph_parse(filter->graph, description, &to, &from, NULL);
    }
    if (status >= 0) status = cm_filters_loaded()->graph_config(filter->graph, NULL);
    cm_filters_loaded()->inout_free(&from);
    cm_filters_loaded()->inout_free(&to);
    if (status < 0)
        return cm_fail_av(error, CM_DECODER, status, "cannot filter frames by '%s'", description);
    return CM_OK;
}

/* Builds the graph for frames like this one. */
static cm_code build(
    cm_filter *filter, const AVFrame *frame, AVRational time_base, cm_error *error) {
    cm_filters_loaded()->graph_free(&filter->graph);
    filter->ends = filter->ended = false;
    filter->key = key_of(frame);
    filter->graph = cm_filters_loaded()->graph_alloc();
    if (filter->graph == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for filters");
    filter->graph->nb_threads = 1;
    bool maps = cm_is_high_dynamic_range(frame) && maps_tones();
    filter->treatment.deinterlaced |= cm_is_interlaced(frame);
    filter->treatment.tone_mapped |= maps;
    char description[512];
    snprintf(
        description, sizeof description, "%s%s%s", filter->treatment.deinterlaced ? deinterlacing : "null",
        maps ? "," : "", maps ? tone_mapping : "");
    cm_code code = add_ends(filter, frame, time_base, error);
    return code == CM_OK ? link_filters(filter, description, error) : code;
}

static cm_code push(cm_filter *filter, AVFrame *frame, cm_error *error) {
    int status = cm_filters_loaded()->source_add(filter->source, frame, 0);
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot filter a frame");
    return CM_OK;
}

cm_code cm_filter_push(
    cm_filter **result, AVFrame *frame, AVRational time_base, cm_error *error) {
    if (*result == NULL) *result = av_mallocz(sizeof **result);
    cm_filter *filter = *result;
    if (filter == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for filters");
    cm_frame_key key = key_of(frame);
    bool fits = filter->graph != NULL && memcmp(&key, &filter->key, sizeof key) == 0
        && (filter->treatment.deinterlaced || !cm_is_interlaced(frame));
    if (fits) {
        frame->pts = frame->best_effort_timestamp;
        return push(filter, frame, error);
    }
    if (filter->graph == NULL) {
        cm_code code = build(filter, frame, time_base, error);
        frame->pts = frame->best_effort_timestamp;
        return code == CM_OK ? push(filter, frame, error) : code;
    }
    /* What is in the graph comes first. */
    filter->pending = av_frame_clone(frame);
    av_frame_unref(frame);
    if (filter->pending == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a frame");
    return cm_filter_end(filter, error);
}

cm_code cm_filter_end(cm_filter *filter, cm_error *error) {
    if (filter->ends) return CM_OK;
    filter->ends = true;
    return push(filter, NULL, error);
}

cm_code cm_filter_pull(
    cm_filter *filter, AVFrame *frame, AVRational time_base, bool *found, cm_error *error) {
    *found = false;
    int status = cm_filters_loaded()->sink_get(filter->sink, frame);
    if (status == AVERROR_EOF && filter->pending != NULL) {
        AVFrame *pending = filter->pending;
        filter->pending = NULL;
        cm_code code = build(filter, pending, time_base, error);
        pending->pts = pending->best_effort_timestamp;
        if (code == CM_OK) code = push(filter, pending, error);
        av_frame_free(&pending);
        if (code != CM_OK) return code;
        status = cm_filters_loaded()->sink_get(filter->sink, frame);
    }
    if (status == AVERROR_EOF) filter->ended = true;
    if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return CM_OK;
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot filter a frame");
    *found = true;
    AVRational own = cm_filters_loaded()->sink_time_base(filter->sink);
    if (frame->pts != AV_NOPTS_VALUE) frame->pts = av_rescale_q(frame->pts, own, time_base);
    frame->best_effort_timestamp = frame->pts;
    return CM_OK;
}

bool cm_filter_has_ended(const cm_filter *filter) { return filter->ended; }

cm_treatment cm_filter_treatment(const cm_filter *filter) {
    return filter == NULL ? (cm_treatment){0} : filter->treatment;
}

void cm_filter_free(cm_filter **filter) {
    if (*filter == NULL) return;
    cm_filters_loaded()->graph_free(&(*filter)->graph);
    av_frame_free(&(*filter)->pending);
    av_freep(filter);
}
