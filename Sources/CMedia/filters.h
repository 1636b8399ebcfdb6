/* FFmpeg's library of filters, loaded when it is needed. */
#ifndef CMEDIA_FILTERS_H
#define CMEDIA_FILTERS_H

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>

/* FFmpeg's filters, from libavfilter. */
typedef struct cm_filters {
    const AVFilter *(*get_by_name)(const char *);
    AVFilterGraph *(*graph_alloc)(void);
    void (*graph_free)(AVFilterGraph **);
    int (*graph_create_filter)(
        AVFilterContext **, const AVFilter *, const char *, const char *, void *, AVFilterGraph *);
    int (*graph_parse)(
        AVFilterGraph *, const char *, AVFilterInOut **, AVFilterInOut **, void *);
    int (*graph_config)(AVFilterGraph *, void *);
    AVFilterInOut *(*inout_alloc)(void);
    void (*inout_free)(AVFilterInOut **);
    int (*source_add)(AVFilterContext *, AVFrame *, int);
    int (*sink_get)(AVFilterContext *, AVFrame *);
    AVRational (*sink_time_base)(const AVFilterContext *);
} cm_filters;

/* NULL if they cannot be loaded. */
const cm_filters *cm_filters_loaded(void);

#endif
