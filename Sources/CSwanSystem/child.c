/* Child processes, and the sandbox that a child puts around itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "CSwanSystem.h"

int cs_spawn(
    const char *path, char *const arguments[], char *const environment[], int input, int *output,
    pid_t *child) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A group of its own: Ctrl-C in the terminal is the parent's to handle. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int number = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (number == 0) number = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (number == 0)
        number = posix_spawn_file_actions_addopen(
            &actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* The parent's connections and files are none of the child's business. */
    if (number == 0) number = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (number == 0)
        number = posix_spawn(child, path, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (number == 0) *output = ends[0];
    else close(ends[0]);
    return number;
}

/* What a rank does to itself between fork and exec: only functions that are safe there. */
static void become_rank(pid_t parent, int input) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The parent may have ended before the signal was set. */
    if (getppid() != parent) _exit(127);
    if (input >= 0) dup2(input, STDIN_FILENO);
    /* Outside the terminal's foreground, writing to it must not stop the process. */
    signal(SIGTTOU, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int cs_spawn_rank(
    const char *path, char *const arguments[], char *const environment[], int input, pid_t *child) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    sigset_t all, before;
    sigfillset(&all);
    /* No handler of the parent may run in the child. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t number = fork();
    if (number == 0) {
        become_rank(parent, input);
        execve(path, arguments, environment);
        int reason = errno;
        ssize_t written = write(ends[1], &reason, sizeof reason);
        _exit(written == sizeof reason ? 127 : 126);
    }
    int reason = number < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    /* The pipe closes without a word when the program runs. */
    if (number > 0) {
        int failure = 0;
        ssize_t count;
        do count = read(ends[0], &failure, sizeof failure);
        while (count < 0 && errno == EINTR);
        if (count == sizeof failure) {
            reason = failure;
            waitpid(number, NULL, 0);
        } else {
            *child = number;
        }
    }
    close(ends[0]);
    return reason;
}

/* The address space in use, in bytes; 0 if unknown. */
static uint64_t mapped_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    unsigned long long pages = 0;
    int count = fscanf(file, "%llu", &pages);
    fclose(file);
    return count == 1 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int limit_to(int resource, uint64_t value) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0) return errno;
    if (limit.rlim_max != RLIM_INFINITY && value > limit.rlim_max) value = limit.rlim_max;
    limit.rlim_cur = value;
    /* Beyond the first limit, processor time ends with SIGXCPU, which tells why; beyond the second with SIGKILL. */
    limit.rlim_max = resource == RLIMIT_CPU ? value + 1 : value;
    return setrlimit(resource, &limit) == 0 ? 0 : errno;
}

int cs_limit_child(uint64_t memory, uint64_t seconds) {
    uint64_t mapped = mapped_bytes();
    if (mapped == 0) return ENOSYS;
    int number = limit_to(RLIMIT_AS, mapped + memory);
    if (number == 0) number = limit_to(RLIMIT_CPU, seconds);
    if (number == 0) number = limit_to(RLIMIT_FSIZE, 0);
    if (number == 0) number = limit_to(RLIMIT_CORE, 0);
    /* Those that are open stay open. */
    if (number == 0) number = limit_to(RLIMIT_NOFILE, 3);
    return number;
}

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
/* Allows a call, whatever its arguments. */
#define ALLOW(name) IF_EQUAL(__NR_##name, 0, 1), ANSWER(SECCOMP_RET_ALLOW)

int cs_enter_sandbox(void) {
#ifdef THIS_ARCHITECTURE
    /* What is not listed fails with EPERM. There are no sockets, no files to open, no programs to run and no other
     * processes: only memory, threads, clocks, and reading and writing what is open. */
    static struct sock_filter program[] = {
        LOAD(arch), IF_EQUAL(THIS_ARCHITECTURE, 1, 0), ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        ALLOW(read), ALLOW(readv), ALLOW(pread64), ALLOW(write), ALLOW(writev), ALLOW(lseek),
        ALLOW(close), ALLOW(fstat), ALLOW(newfstatat), ALLOW(ppoll),
#ifdef __NR_poll
        ALLOW(poll),
#endif
        ALLOW(mmap), ALLOW(munmap), ALLOW(mprotect), ALLOW(mremap), ALLOW(madvise), ALLOW(brk),
        ALLOW(futex), ALLOW(set_robust_list), ALLOW(rseq), ALLOW(membarrier), ALLOW(sched_yield),
        ALLOW(sched_getaffinity), ALLOW(getcpu), ALLOW(set_tid_address),
        ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(rt_sigpending),
        ALLOW(rt_sigtimedwait), ALLOW(sigaltstack), ALLOW(restart_syscall), ALLOW(tgkill),
        ALLOW(getpid), ALLOW(gettid), ALLOW(getrandom), ALLOW(getrusage), ALLOW(uname),
        ALLOW(clock_gettime), ALLOW(clock_getres), ALLOW(clock_nanosleep), ALLOW(nanosleep),
        ALLOW(gettimeofday), ALLOW(exit), ALLOW(exit_group),
        /* glibc falls back to clone, whose flags can be checked. */
        IF_EQUAL(__NR_clone3, 0, 1), ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
        IF_EQUAL(__NR_clone, 0, 3), LOAD(args[0]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1), ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 ? 0 : errno;
#else
    return ENOSYS;
#endif
}

int cs_lower_thread_priority(int nice) {
    /* Linux applies it to the calling thread, and to threads that it starts later. */
    return setpriority(PRIO_PROCESS, 0, nice) == 0 ? 0 : errno;
}
