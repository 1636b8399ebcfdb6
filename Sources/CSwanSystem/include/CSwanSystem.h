/* Wrappers of Linux system functions, most of which require _GNU_SOURCE. */
#ifndef CSWANSYSTEM_H
#define CSWANSYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Renames a file without replacing an existing one. Returns 0 or the error number: EEXIST if `to` exists. */
int cs_rename_new(const char *from, const char *to);

/* Sets the name of the calling thread, at most 15 bytes. */
void cs_name_thread(const char *name);

/* Writes all bytes to a descriptor. EPIPE is returned as an error, never raised as a signal. `written`, unless NULL,
 * is set to the number of bytes written; returns 0 or the error number. */
int cs_write_all(int descriptor, const void *bytes, size_t size, size_t *written);

/* Starts a program with an open descriptor as its standard input, and no others. `output` is set to the other end of
 * its standard output; its standard error is discarded. Returns 0 or the error number. */
int cs_spawn(
    const char *path, char *const arguments[], char *const environment[], int input, int *output,
    pid_t *child);

/* Starts a program as one of several that run together: in a process group of its own, so that Ctrl-C in the terminal
 * is the caller's to pass on, and killed when the calling thread ends. `input`, unless -1, becomes its standard input;
 * it shares the others. Returns 0 or the error number. */
int cs_spawn_rank(
    const char *path, char *const arguments[], char *const environment[], int input, pid_t *child);

/* Limits this process: so many bytes of memory more than it has now, so many seconds of processor time, no further
 * files, and none of them growing. Returns 0 or the error number. */
int cs_limit_child(uint64_t memory, uint64_t seconds);

/* From now on, this process can use memory, threads, clocks and open descriptors, and nothing else: no sockets, no
 * files, no programs. Returns 0 or the error number. */
int cs_enter_sandbox(void);

/* Lets the calling thread, and those that it starts, run after others: 19 is the lowest priority, 0 the usual one.
 * Returns 0 or the error number. */
int cs_lower_thread_priority(int nice);

#endif
