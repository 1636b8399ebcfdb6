/* What the C library has under _GNU_SOURCE alone. */
#ifndef CSYSTEM_H
#define CSYSTEM_H

#include <stddef.h>

/* Gives a file another name, which nothing may have; the error number, EEXIST where something has. */
int cs_rename_new(const char *from, const char *to);

/* Names the calling thread, by at most 15 bytes. */
void cs_name_thread(const char *name);

/* Writes all bytes to a descriptor. EPIPE is returned as an error, never raised as a signal. `written`, unless NULL,
 * is set to the number of bytes written; returns 0 or the error number. */
int cs_write_all(int descriptor, const void *bytes, size_t size, size_t *written);

#endif
