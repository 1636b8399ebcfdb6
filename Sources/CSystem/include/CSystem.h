/* What the C library has under _GNU_SOURCE alone. */
#ifndef CSYSTEM_H
#define CSYSTEM_H

/* Gives a file another name, which nothing may have; the error number, EEXIST where something has. */
int cs_rename_new(const char *from, const char *to);

/* Names the calling thread, by at most 15 bytes. */
void cs_name_thread(const char *name);

#endif
