/* Wrappers of Linux system functions, most of which require _GNU_SOURCE. */
#ifndef CSWANSYSTEM_H
#define CSWANSYSTEM_H

#include <stddef.h>

/* Renames a file without replacing an existing one. Returns 0 or the error number: EEXIST if `to` exists. */
int cs_rename_new(const char *from, const char *to);

/* Sets the name of the calling thread, at most 15 bytes. */
void cs_name_thread(const char *name);

/* Writes all bytes to a descriptor. EPIPE is returned as an error, never raised as a signal. `written`, unless NULL,
 * is set to the number of bytes written; returns 0 or the error number. */
int cs_write_all(int descriptor, const void *bytes, size_t size, size_t *written);

#endif
