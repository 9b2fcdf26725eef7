/* SPDX-License-Identifier: MIT
 *
 * WASI knows no users: nobody is found, which is no error. libpq asks for the name of a user that was not given, and for a
 * home folder to look for .pgpass in. */
#ifndef COMPAT_PWD_H
#define COMPAT_PWD_H

#include <stddef.h>
#include <sys/types.h>

struct passwd {
    char *pw_name;
    char *pw_dir;
};

static __inline int getpwuid_r(uid_t user, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
    (void)user, (void)entry, (void)buffer, (void)size;
    *result = NULL;
    return 0;
}

static __inline struct passwd *getpwuid(uid_t user)
{
    (void)user;
    return NULL;
}

#endif
