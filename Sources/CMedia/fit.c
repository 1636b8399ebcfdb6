/* Gives frames of another size or shape those of the first. */
#include <math.h>
#include <string.h>

#include "internal.h"

/* The size at which a frame has its own shape, within or around the wanted one. */
static void shape(const cm_fitter *fitter, const AVFrame *frame, int *width, int *height) {
    *width = fitter->width;
    *height = fitter->height;
    if (fitter->fit == CM_FIT_STRETCH) return;
    AVRational own = frame->sample_aspect_ratio;
    double pixel = (cm_is_positive(own) ? av_q2d(own) : fitter->aspect) / fitter->aspect;
    double ratio = (double)frame->width * pixel * fitter->height
        / ((double)frame->height * fitter->width);
    /* A percent is no other shape, but another rounding. */
    if (!(ratio > 0.05 && ratio < 20) || fabs(ratio - 1) < 0.01) return;
    bool changes_width = (ratio > 1) == (fitter->fit == CM_FIT_CROP);
    if (changes_width) *width = (int)lround(fitter->width * ratio);
    else *height = (int)lround(fitter->height / ratio);
    if (*width < 1) *width = 1;
    if (*height < 1) *height = 1;
}

/* Copies the middle of a picture to the middle of the canvas, which is black around it. */
static void place(AVFrame *canvas, const AVFrame *picture) {
    int width = picture->width < canvas->width ? picture->width : canvas->width;
    int height = picture->height < canvas->height ? picture->height : canvas->height;
    const uint8_t *from = picture->data[0]
        + (ptrdiff_t)((picture->height - height) / 2) * picture->linesize[0]
        + (ptrdiff_t)3 * ((picture->width - width) / 2);
    uint8_t *to = canvas->data[0]
        + (ptrdiff_t)((canvas->height - height) / 2) * canvas->linesize[0]
        + (ptrdiff_t)3 * ((canvas->width - width) / 2);
    for (int y = 0; y < canvas->height; y++)
        memset(canvas->data[0] + (ptrdiff_t)y * canvas->linesize[0], 0, 3 * (size_t)canvas->width);
    for (int y = 0; y < height; y++, from += picture->linesize[0], to += canvas->linesize[0])
        memcpy(to, from, 3 * (size_t)width);
}

cm_code cm_fitter_convert(
    cm_fitter *fitter, AVFrame *frame, const AVFrame **picture, cm_error *error) {
    int width = fitter->width, height = fitter->height;
    if (frame->width != width || frame->height != height) {
        fitter->was_used = true;
        shape(fitter, frame, &width, &height);
    }
    cm_code code = cm_to_rgb(&fitter->converter, frame, width, height, picture, error);
    if (code != CM_OK || (width == fitter->width && height == fitter->height)) return code;
    code = cm_make_picture(
        &fitter->canvas, fitter->width, fitter->height, AV_PIX_FMT_RGB24, error);
    if (code != CM_OK) return code;
    place(fitter->canvas, *picture);
    *picture = fitter->canvas;
    return CM_OK;
}

void cm_fitter_free(cm_fitter *fitter) {
    cm_converter_free(&fitter->converter);
    av_frame_free(&fitter->canvas);
}
