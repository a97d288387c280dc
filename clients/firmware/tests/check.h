/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* What the run was about when a check fails: a seed, a byte. */
extern char check_context[128];

#define CHECK(condition)                                                                                  \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            fprintf(stderr, "%s:%d: %s: not %s\n", __FILE__, __LINE__, check_context, #condition);        \
            abort();                                                                                      \
        }                                                                                                 \
    } while (0)

#define CHECK_EQUAL(found, wanted)                                                                        \
    do {                                                                                                  \
        unsigned long long check_found = (unsigned long long)(found);                                     \
        unsigned long long check_wanted = (unsigned long long)(wanted);                                   \
        if (check_found != check_wanted) {                                                                \
            fprintf(stderr, "%s:%d: %s: %s is %llu, not %llu\n", __FILE__, __LINE__, check_context,       \
                    #found, check_found, check_wanted);                                                   \
            abort();                                                                                      \
        }                                                                                                 \
    } while (0)

#endif
