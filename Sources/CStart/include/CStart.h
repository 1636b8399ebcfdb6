/* Checks that must run before the initializers of shared libraries. */
#ifndef CSTART_H
#define CSTART_H

/* Whether the memory check at startup is linked in; always true if this function can be called. */
int cs_is_checked(void);

#endif
