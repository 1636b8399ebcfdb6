/* A window that shows frames, by SDL2, which is loaded when the first window is opened. */
#define SDL_MAIN_HANDLED
#include <SDL2/SDL.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

/* The functions in use, with the types that SDL's header declares. */
#define SDL_FUNCTIONS(USE)                                                                        \
    USE(SDL_SetHint)                                                                              \
    USE(SDL_SetMainReady)                                                                         \
    USE(SDL_InitSubSystem)                                                                        \
    USE(SDL_QuitSubSystem)                                                                        \
    USE(SDL_GetError)                                                                             \
    USE(SDL_CreateWindow)                                                                         \
    USE(SDL_DestroyWindow)                                                                        \
    USE(SDL_SetWindowTitle)                                                                       \
    USE(SDL_CreateRenderer)                                                                       \
    USE(SDL_DestroyRenderer)                                                                      \
    USE(SDL_RenderSetLogicalSize)                                                                 \
    USE(SDL_SetRenderDrawColor)                                                                   \
    USE(SDL_RenderClear)                                                                          \
    USE(SDL_RenderCopy)                                                                           \
    USE(SDL_RenderPresent)                                                                        \
    USE(SDL_CreateTexture)                                                                        \
    USE(SDL_DestroyTexture)                                                                       \
    USE(SDL_UpdateTexture)                                                                        \
    USE(SDL_PollEvent)

#define DECLARE(name) __typeof__(name) *name;
static struct {
    SDL_FUNCTIONS(DECLARE)
} sdl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;

static void load(void) {
    void *library = dlopen("libSDL2-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    loaded = true;
#define FIND(name)                                                                                \
    sdl.name = (__typeof__(name) *)dlsym(library, #name);                                         \
    if (sdl.name == NULL) loaded = false;
    SDL_FUNCTIONS(FIND)
}

struct cm_window {
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    int width, height;
    bool started;
};

static cm_code fail_window(cm_error *error, const char *problem) {
    return cm_fail(error, CM_UNAVAILABLE, "%s: %s", problem, sdl.SDL_GetError());
}

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

static cm_code start_video(cm_window *window, cm_error *error) {
    /* The program handles signals itself, and a screen saver may start. */
    sdl.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    sdl.SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    sdl.SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
    sdl.SDL_SetMainReady();
    /* Without a display, SDL would draw where nobody sees it. */
    if (!is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") && !is_set("SDL_VIDEODRIVER"))
        return cm_fail(
            error, CM_UNAVAILABLE,
            "there is no display: DISPLAY and WAYLAND_DISPLAY are not set; run this on a "
            "desktop, or leave out --show");
    if (sdl.SDL_InitSubSystem(SDL_INIT_VIDEO) != 0)
        return fail_window(error, "cannot use the display");
    window->started = true;
    return CM_OK;
}

/* Small videos are shown larger. */
static int scale_of(int width) { return width >= 640 ? 1 : width >= 320 ? 2 : 3; }

cm_code cm_window_open(
    cm_window **result, const char *title, int width, int height, cm_error *error) {
    *result = NULL;
    pthread_once(&once, load);
    if (!loaded)
        return cm_fail(
            error, CM_UNAVAILABLE,
            "a window needs the library libSDL2-2.0.so.0; install it (Debian: libsdl2-2.0-0)");
    cm_window *window = av_mallocz(sizeof *window);
    if (window == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a window");
    window->width = width;
    window->height = height;
    cm_code code = start_video(window, error);
    int scale = scale_of(width);
    if (code == CM_OK) {
        window->window = sdl.SDL_CreateWindow(
            title, SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, width * scale, height * scale,
            SDL_WINDOW_RESIZABLE);
        if (window->window != NULL)
            window->renderer = sdl.SDL_CreateRenderer(window->window, -1, 0);
        if (window->renderer != NULL)
            window->texture = sdl.SDL_CreateTexture(
                window->renderer, SDL_PIXELFORMAT_RGB24, SDL_TEXTUREACCESS_STREAMING, width,
                height);
        if (window->texture == NULL) code = fail_window(error, "cannot open a window");
    }
    if (code != CM_OK) {
        cm_window_free(window);
        return code;
    }
    /* Bars keep the picture's shape in a window of another one. */
    sdl.SDL_RenderSetLogicalSize(window->renderer, width, height);
    *result = window;
    return CM_OK;
}

cm_code cm_window_show(cm_window *window, const uint8_t *rgb, cm_error *error) {
    if (rgb != NULL && sdl.SDL_UpdateTexture(window->texture, NULL, rgb, 3 * window->width) != 0)
        return fail_window(error, "cannot show a frame");
    sdl.SDL_SetRenderDrawColor(window->renderer, 0, 0, 0, 255);
    if (sdl.SDL_RenderClear(window->renderer) != 0
        || sdl.SDL_RenderCopy(window->renderer, window->texture, NULL, NULL) != 0)
        return fail_window(error, "cannot show a frame");
    sdl.SDL_RenderPresent(window->renderer);
    return CM_OK;
}

static cm_window_event meaning_of_key(SDL_Keycode key) {
    if (key >= SDLK_1 && key <= SDLK_9)
        return (cm_window_event){CM_WINDOW_DIGIT, (int)(key - SDLK_1) + 1};
    if (key >= SDLK_KP_1 && key <= SDLK_KP_9)
        return (cm_window_event){CM_WINDOW_DIGIT, (int)(key - SDLK_KP_1) + 1};
    switch (key) {
    case SDLK_SPACE: return (cm_window_event){CM_WINDOW_SPACE, 0};
    case SDLK_q:
    case SDLK_ESCAPE: return (cm_window_event){CM_WINDOW_CLOSE, 0};
    default: return (cm_window_event){CM_WINDOW_NOTHING, 0};
    }
}

cm_window_event cm_window_poll(cm_window *window) {
    SDL_Event event;
    while (sdl.SDL_PollEvent(&event)) {
        cm_window_event meaning = {CM_WINDOW_NOTHING, 0};
        if (event.type == SDL_QUIT) meaning.kind = CM_WINDOW_CLOSE;
        if (event.type == SDL_KEYDOWN && event.key.repeat == 0)
            meaning = meaning_of_key(event.key.keysym.sym);
        /* A window that was covered has to be drawn again. */
        if (event.type == SDL_WINDOWEVENT && event.window.event == SDL_WINDOWEVENT_EXPOSED)
            cm_window_show(window, NULL, NULL);
        if (meaning.kind != CM_WINDOW_NOTHING) return meaning;
    }
    return (cm_window_event){CM_WINDOW_NOTHING, 0};
}

void cm_window_set_title(cm_window *window, const char *title) {
    sdl.SDL_SetWindowTitle(window->window, title);
}

void cm_window_free(cm_window *window) {
    if (window == NULL) return;
    if (window->texture != NULL) sdl.SDL_DestroyTexture(window->texture);
    if (window->renderer != NULL) sdl.SDL_DestroyRenderer(window->renderer);
    if (window->window != NULL) sdl.SDL_DestroyWindow(window->window);
    if (window->started) sdl.SDL_QuitSubSystem(SDL_INIT_VIDEO);
    av_free(window);
}
