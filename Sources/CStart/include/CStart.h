/* What has to happen before the shared libraries' own beginnings. */
#ifndef CSTART_H
#define CSTART_H

/* Whether the check of memory at the start was linked in; it is, where this can be called. */
int cs_is_checked(void);

#endif
