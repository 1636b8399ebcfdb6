/* Reduces frames to 256 colors with FFmpeg's palettegen and paletteuse.
 *
 * A palette is made for as many frames as fit into a bounded window: one for the whole of most
 * animations, a new one from time to time for long videos. */
#include <stdio.h>
#include <string.h>

#include "filters.h"
#include "internal.h"

enum { most_frames = 512, most_bytes = 128 * 1000 * 1000 };

struct cm_palette {
    int width, height;
    AVFrame *window[most_frames];
    int size, count, used; /* frames that fit, that are there, and that were colored */
    AVFilterGraph *graph;  /* colors the frames of the window; NULL: they are being collected */
    AVFilterContext *source, *sink;
};

static cm_code fail(int status, cm_error *error) {
    return cm_fail_av(error, CM_ENCODER, status, "cannot choose the colors of frames");
}

/* ---- Graphs ---- */

static int add_source(
    AVFilterGraph *graph, const char *name, int width, int height, AVFilterContext **source) {
    const cm_filters *filters = cm_filters_loaded();
    char arguments[128];
    snprintf(
        arguments, sizeof arguments, "video_size=%dx%d:pix_fmt=%d:time_base=1/1:pixel_aspect=1/1",
        width, height, AV_PIX_FMT_RGB32);
    return filters->graph_create_filter(
        source, filters->get_by_name("buffer"), name, arguments, NULL, graph);
}

static int add_sink(AVFilterGraph *graph, AVFilterContext **sink) {
    const cm_filters *filters = cm_filters_loaded();
    return filters->graph_create_filter(
        sink, filters->get_by_name("buffersink"), "out", NULL, NULL, graph);
}

/* The end of a description's link: `name` of the description is the pad of `filter`. */
static AVFilterInOut *link_end(const char *name, AVFilterContext *filter, AVFilterInOut *next) {
    AVFilterInOut *end = cm_filters_loaded()->inout_alloc();
    if (end == NULL) return next;
    end->name = av_strdup(name);
    end->filter_ctx = filter;
    end->next = next;
    return end;
}

static int configure(
    AVFilterGraph *graph, const char *description, AVFilterInOut *from, AVFilterInOut *to) {
    const cm_filters *filters = cm_filters_loaded();
    int status = AVERROR(ENOMEM);
    if (from != NULL && to != NULL)
        status = filters->graph_parse(graph, description, &to, &from, NULL);
    if (status >= 0) status = filters->graph_config(graph, NULL);
    filters->inout_free(&from);
    filters->inout_free(&to);
    return status;
}

/* Computes the palette of the window, a picture of 16x16 pixels. */
static int find_colors(cm_palette *palette, AVFrame *colors) {
    const cm_filters *filters = cm_filters_loaded();
    AVFilterGraph *graph = filters->graph_alloc();
    if (graph == NULL) return AVERROR(ENOMEM);
    AVFilterContext *source = NULL, *sink = NULL;
    int status = add_source(graph, "in", palette->width, palette->height, &source);
    if (status >= 0) status = add_sink(graph, &sink);
    if (status >= 0) {
        status = configure(
            graph, "[in]palettegen=stats_mode=full[out]", link_end("in", source, NULL),
            link_end("out", sink, NULL));
    }
    for (int i = 0; i < palette->count && status >= 0; i++)
        status = filters->source_add(source, palette->window[i], AV_BUFFERSRC_FLAG_KEEP_REF);
    if (status >= 0) status = filters->source_add(source, NULL, 0);
    if (status >= 0) status = filters->sink_get(sink, colors);
    filters->graph_free(&graph);
    return status;
}

/* Sets up the graph that colors the frames of the window. */
static int start_coloring(cm_palette *palette, AVFrame *colors) {
    const cm_filters *filters = cm_filters_loaded();
    palette->graph = filters->graph_alloc();
    if (palette->graph == NULL) return AVERROR(ENOMEM);
    palette->graph->nb_threads = 1;
    AVFilterContext *second = NULL;
    int status = add_source(
        palette->graph, "in", palette->width, palette->height, &palette->source);
    if (status >= 0)
        status = add_source(palette->graph, "p", colors->width, colors->height, &second);
    if (status >= 0) status = add_sink(palette->graph, &palette->sink);
    if (status >= 0) {
        status = configure(
            palette->graph, "[in][p]paletteuse=dither=sierra2_4a:diff_mode=rectangle[out]",
            link_end("in", palette->source, link_end("p", second, NULL)),
            link_end("out", palette->sink, NULL));
    }
    colors->pts = palette->window[0]->pts;
    if (status >= 0) status = filters->source_add(second, colors, 0);
    if (status >= 0) status = filters->source_add(second, NULL, 0);
    return status;
}

/* ---- Frames ---- */

cm_code cm_palette_open(cm_palette **result, int width, int height, cm_error *error) {
    if (!cm_filters_load()) {
        return cm_fail(
            error, CM_UNSUPPORTED,
            "needs FFmpeg's library libavfilter to choose colors, which cannot be loaded");
    }
    cm_palette *palette = *result = av_mallocz(sizeof *palette);
    if (palette == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for the colors of frames");
    palette->width = width;
    palette->height = height;
    int64_t size = most_bytes / (4 * (int64_t)width * height);
    palette->size = size < 2 ? 2 : size > most_frames ? most_frames : (int)size;
    return CM_OK;
}

cm_code cm_palette_push(cm_palette *palette, const AVFrame *frame, cm_error *error) {
    if (palette->count == palette->size)
        return cm_fail(error, CM_INVALID_ARGUMENT, "frames with colors must be taken first");
    AVFrame *kept = av_frame_clone(frame);
    if (kept == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a frame");
    palette->window[palette->count++] = kept;
    return CM_OK;
}

static void empty(cm_palette *palette) {
    for (int i = 0; i < palette->count; i++) av_frame_free(&palette->window[i]);
    palette->count = palette->used = 0;
    if (palette->graph != NULL) cm_filters_loaded()->graph_free(&palette->graph);
}

cm_code cm_palette_pull(cm_palette *palette, bool last, AVFrame **result, cm_error *error) {
    const cm_filters *filters = cm_filters_loaded();
    if (palette->used == palette->count) empty(palette);
    if (palette->count == 0 || (palette->used == 0 && !last && palette->count < palette->size))
        return CM_END;
    AVFrame *frame = av_frame_alloc();
    if (frame == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a frame");
    int status = 0;
    if (palette->graph == NULL) {
        status = find_colors(palette, frame);
        if (status >= 0) status = start_coloring(palette, frame);
        av_frame_unref(frame);
    }
    int64_t time = palette->window[palette->used]->pts;
    if (status >= 0) {
        status = filters->source_add(
            palette->source, palette->window[palette->used], AV_BUFFERSRC_FLAG_KEEP_REF);
    }
    if (status >= 0) status = filters->sink_get(palette->sink, frame);
    if (status < 0) {
        av_frame_free(&frame);
        return fail(status, error);
    }
    av_frame_free(&palette->window[palette->used++]);
    frame->pts = time;
    *result = frame;
    return CM_OK;
}

void cm_palette_free(cm_palette **pointer) {
    if (*pointer == NULL) return;
    empty(*pointer);
    av_freep(pointer);
}
