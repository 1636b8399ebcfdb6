// Runs a program's `main` once per request in a forked process, after its libraries are loaded once.
//
// Loading libtorch takes most of the time of a short run. This library is preloaded (LD_PRELOAD); it replaces
// `__libc_start_main`, reads requests from descriptor 0 and answers on descriptor 1:
//
//     request   uint32 length, then NUL-terminated strings: working directory, output file, arguments (argv[0] first)
//     answer    int32 process id when the process has started; int32 wait status and int64 kB of peak resident memory
//               when it has ended
//
// The process that runs `main` has /dev/null as its standard input and the output file as its standard output and
// error. The server ends at the end of its input.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*Main)(int, char **, char **);
typedef int (*Start)(Main, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

enum { largest_request = 1 << 20, most_arguments = 1024 };

static Main program;

static int read_whole(void *bytes, size_t count) {
    for (size_t done = 0; done < count;) {
        ssize_t got = read(0, (char *)bytes + done, count - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        done += (size_t)got;
    }
    return 1;
}

static void answer(const void *bytes, size_t count) {
    if (write(1, bytes, count) != (ssize_t)count) _exit(1);
}

// Swift reads the arguments from /proc/self/cmdline unless they are set explicitly.
static void tell_swift(char **arguments, int count) {
    void (*override)(char **, int) =
        (void (*)(char **, int))dlsym(RTLD_DEFAULT, "_swift_stdlib_overrideUnsafeArgvArgc");
    if (override) override(arguments, count);
}

static int run(char **strings, int count, char **environment) {
    int input = open("/dev/null", O_RDONLY);
    int output = open(strings[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (chdir(strings[0]) || input < 0 || output < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 ||
        dup2(output, 2) < 0)
        _exit(127);
    close(input);
    close(output);
    unsetenv("LD_PRELOAD");
    tell_swift(strings + 2, count - 2);
    return program(count - 2, strings + 2, environment);
}

static int serve(int count, char **arguments, char **environment) {
    (void)count;
    (void)arguments;
    static char request[largest_request];
    uint32_t length;
    while (read_whole(&length, sizeof length)) {
        if (length < 1 || length > largest_request || !read_whole(request, length) || request[length - 1]) return 1;
        char *strings[most_arguments + 1] = {0};
        int found = 0;
        for (char *next = request; next < request + length && found < most_arguments; next += strlen(next) + 1)
            strings[found++] = next;
        if (found < 3) return 1;
        pid_t process = fork();
        if (process == 0) exit(run(strings, found, environment));
        int32_t id = process;
        answer(&id, sizeof id);
        if (process < 0) continue;
        int status;
        struct rusage usage;
        while (wait4(process, &status, 0, &usage) < 0 && errno == EINTR) {
        }
        int32_t code = status;
        int64_t memory = usage.ru_maxrss;
        answer(&code, sizeof code);
        answer(&memory, sizeof memory);
    }
    return 0;
}

int __libc_start_main(
    Main main, int count, char **arguments, void (*before)(void), void (*after)(void), void (*loader)(void),
    void *stack) {
    program = main;
    Start start = (Start)dlsym(RTLD_NEXT, "__libc_start_main");
    return start(serve, count, arguments, before, after, loader, stack);
}
