/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L

#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Read at once. */
enum { PARTS_MAX = 16 };

static void hang_up(struct sockets *sockets)
{
    if (sockets->socket >= 0) {
        close(sockets->socket);
        sockets->socket = -1;
    }
}

static int begin_connect(const struct addrinfo *address)
{
    int connection = socket(address->ai_family, address->ai_socktype, address->ai_protocol);

    if (connection < 0) {
        return -1;
    }
    if (fcntl(connection, F_SETFL, O_NONBLOCK) == 0 &&
        (connect(connection, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS)) {
        return connection;
    }
    close(connection);
    return -1;
}

/* A name may have an address that nobody listens at: after a connection that failed it is the next one's turn. */
static const struct addrinfo *of_turn(const struct addrinfo *found, unsigned turn)
{
    const struct addrinfo *address;
    unsigned count = 0;

    for (address = found; address != NULL; address = address->ai_next) {
        count++;
    }
    for (turn %= count; turn > 0; turn--) {
        found = found->ai_next;
    }
    return found;
}

static bool send_request(void *context, struct quorate *client, const char *body, size_t length)
{
    struct sockets *sockets = context;
    struct addrinfo hints, *found;

    (void)client;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    sockets->head_bytes =
        quorate_http_head(sockets->head, sizeof sockets->head, sockets->host, sockets->key, length);
    if (sockets->head_bytes == 0 || getaddrinfo(sockets->host, sockets->port, &hints, &found) != 0) {
        return false;
    }
    sockets->socket = begin_connect(of_turn(found, sockets->turn));
    freeaddrinfo(found);
    sockets->turn += sockets->socket < 0;
    sockets->body = body;
    sockets->body_bytes = length;
    sockets->sent = 0;
    quorate_http_begin(&sockets->http);
    return sockets->socket >= 0;
}

/* False if the connection is broken. A signal for that is not wanted. */
static bool send_rest(struct sockets *sockets)
{
    while (sockets->sent < sockets->head_bytes + sockets->body_bytes) {
        bool in_head = sockets->sent < sockets->head_bytes;
        size_t at = in_head ? sockets->sent : sockets->sent - sockets->head_bytes;
        const char *from = in_head ? sockets->head : sockets->body;
        size_t length = in_head ? sockets->head_bytes : sockets->body_bytes;
        ssize_t sent = send(sockets->socket, from + at, length - at, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == ENOTCONN || errno == EINTR;
        }
        sockets->sent += (size_t)sent;
    }
    return true;
}

static void poll_answer(void *context, struct quorate *client)
{
    struct sockets *sockets = context;
    /* What cannot be sent may have been answered already: 413, say. */
    bool is_open = send_rest(sockets);
    char bytes[256];
    ssize_t received = 1;
    int parts;

    /* An answer without end must not hold up what else the device has to do. */
    for (parts = 0; parts < PARTS_MAX && received > 0; parts++) {
        received = recv(sockets->socket, bytes, sizeof bytes, 0);
        if (received > 0 && quorate_http_take(&sockets->http, client, bytes, (size_t)received)) {
            hang_up(sockets);
            return;
        }
    }
    if (received > 0) {
        return;
    }
    if (received == 0 || !is_open || (errno != EAGAIN && errno != ENOTCONN && errno != EINTR)) {
        sockets->turn += sockets->http.status == 0;
        quorate_http_closed(&sockets->http, client);
        hang_up(sockets);
    }
}

static void cancel(void *context, struct quorate *client)
{
    struct sockets *sockets = context;

    (void)client;
    sockets->turn += sockets->http.status == 0;
    hang_up(sockets);
}

void sockets_begin(struct sockets *sockets, const char *host, const char *port, const char *key)
{
    memset(sockets, 0, sizeof *sockets);
    sockets->host = host;
    sockets->port = port;
    sockets->key = key;
    sockets->socket = -1;
}

struct quorate_transport sockets_transport(struct sockets *sockets)
{
    struct quorate_transport transport = {sockets, send_request, poll_answer, cancel};
    return transport;
}

void sockets_wait(const struct sockets *sockets, int wait_ms)
{
    bool has_more = sockets->sent < sockets->head_bytes + sockets->body_bytes;
    struct pollfd waiting = {sockets->socket, (short)(has_more ? POLLIN | POLLOUT : POLLIN), 0};

    poll(&waiting, sockets->socket >= 0 ? 1 : 0, wait_ms);
}
