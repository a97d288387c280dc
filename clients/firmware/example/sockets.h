/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport over POSIX sockets, in clear text: for the examples and tests, and to start a transport of yours from.
 * Everything but the look-up of the host's name is without waiting. Each request has a connection of its own.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#include "quorate.h"

struct sockets {
    const char *host;
    const char *port;
    const char *key;
    /* The request under way. */
    const char *body;
    size_t body_bytes;
    size_t head_bytes;
    size_t sent;
    struct quorate_http http;
    char head[256];
    unsigned turn; /* of the host's addresses */
    int socket;
};

void sockets_begin(struct sockets *sockets, const char *host, const char *port, const char *key);
/* The callbacks, with `sockets` as context. */
struct quorate_transport sockets_transport(struct sockets *sockets);
/* Waits until there is something to do for the request under way, at most so long. */
void sockets_wait(const struct sockets *sockets, int wait_ms);

#endif
