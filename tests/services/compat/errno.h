/* SPDX-License-Identifier: MIT
 *
 * EHOSTDOWN, which libpq's list of network errors names and WASI's lacks: a number that no call returns. */
#include_next <errno.h>

#ifndef EHOSTDOWN
#define EHOSTDOWN 4095
#endif
