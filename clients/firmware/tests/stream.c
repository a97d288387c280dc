/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport over sockets, where a network of one machine does not lead by itself: a host with an address that nobody
 * listens at, an answer without end, a service that takes a request slowly.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "device_usage.h"
#include "sockets.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

char check_context[128] = "";

static struct quorate client;
static struct sockets sockets;
static struct quorate_config config;
static struct quorate_memory memory;
static uint8_t ring[32768];
static char batch[16384], port[8];
static uint32_t now;
static int listener;

/* ---- a host with two addresses, in place of the system's names ------------------------------------------------- */

static struct sockaddr_in places[2];
static struct addrinfo answers[2];
static int addresses;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static const char *const names[] = {"127.0.0.2", "127.0.0.1"};
    int i;

    (void)host;
    for (i = 0; i < addresses; i++) {
        const char *name = names[i + 2 - addresses];
        places[i].sin_family = AF_INET;
        places[i].sin_port = htons((uint16_t)strtoul(service, NULL, 10));
        CHECK(inet_pton(AF_INET, name, &places[i].sin_addr) == 1);
        answers[i] = *hints;
        answers[i].ai_family = AF_INET;
        answers[i].ai_addr = (struct sockaddr *)&places[i];
        answers[i].ai_addrlen = sizeof places[i];
        answers[i].ai_next = i + 1 < addresses ? &answers[i + 1] : NULL;
    }
    *found = answers;
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

/* ---- both ends ------------------------------------------------------------------------------------------------- */

static void listen_here(void)
{
    struct sockaddr_in place;
    socklen_t length = sizeof place;
    int least = 1;

    memset(&place, 0, sizeof place);
    place.sin_family = AF_INET;
    CHECK(inet_pton(AF_INET, "127.0.0.1", &place.sin_addr) == 1);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    /* What it does not read fills little, so that requests go out in parts. */
    CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &least, sizeof least) == 0);
    CHECK(bind(listener, (struct sockaddr *)&place, sizeof place) == 0 && listen(listener, 4) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&place, &length) == 0);
    snprintf(port, sizeof port, "%u", ntohs(place.sin_port));
}

static void fresh(void)
{
    static const char common[] = "\"serial_number\":\"X1-000417\"";

    memset(&config, 0, sizeof config);
    memset(ring, 0xff, sizeof ring);
    quorate_storage_in_memory(&config.storage, &memory, ring, sizeof ring, 2);
    sockets_begin(&sockets, "service.example", port, "qd_key");
    config.transport = sockets_transport(&sockets);
    config.common = common;
    config.common_bytes = sizeof common - 1;
    config.batch = batch;
    config.batch_bytes = sizeof batch;
    config.boot = 1;
    addresses = 1;
    CHECK_EQUAL(quorate_init(&client, &config, now), QUORATE_OK);
}

static void record_many(uint32_t count)
{
    static char text[400], log[320];
    struct quorate_writer writer;

    memset(log, 'l', sizeof log - 1);
    for (; count > 0; count--) {
        quorate_write_begin(&writer, text, sizeof text);
        quorate_write_text(&writer, "log", log, sizeof log);
        CHECK_EQUAL(quorate_record(&client, &writer, now), QUORATE_OK);
    }
    quorate_flush(&client);
}

/* Steps until somebody connects, for an hour of the device's time. */
static int accepted(void)
{
    struct pollfd waiting = {listener, POLLIN, 0};
    uint32_t until = now + 3600000;

    while (now < until) {
        quorate_step(&client, now);
        if (poll(&waiting, 1, 1) > 0) {
            return accept(listener, NULL, NULL);
        }
        now += 1000;
    }
    return -1;
}

static size_t take(int connection, char *bytes, size_t room)
{
    struct pollfd waiting = {connection, POLLIN, 0};
    ssize_t taken = poll(&waiting, 1, 100) > 0 ? recv(connection, bytes, room, MSG_DONTWAIT) : 0;

    return taken > 0 ? (size_t)taken : 0;
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void the_next_address_is_tried_where_one_does_not_answer(void)
{
    int connection;

    fresh();
    addresses = 2;
    record_many(1);
    connection = accepted();
    CHECK(connection >= 0);
    close(connection);
}

static void a_request_goes_out_in_parts_and_whole(void)
{
    static const char receipt[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 46\r\n\r\n"
                                  "{\"accepted\":32,\"refused\":[],\"refused_total\":0}";
    static char request[32768];
    const char *body;
    size_t length = 0, parts = 0;
    int connection, least = 1, tries = 0;

    fresh();
    record_many(32);
    connection = accepted();
    CHECK(connection >= 0 && setsockopt(sockets.socket, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    do {
        size_t before = sockets.sent;
        quorate_step(&client, ++now);
        parts += sockets.sent > before;
        length += take(connection, request + length, sizeof request - 1 - length);
    } while (length < sockets.head_bytes + sockets.body_bytes && ++tries < 200);
    CHECK(parts > 1);
    body = strstr(request, "\r\n\r\n");
    CHECK(body != NULL && length == sockets.sent);
    CHECK(memcmp(body + 4, batch, sockets.body_bytes) == 0);
    CHECK(send(connection, receipt, sizeof receipt - 1, 0) == (ssize_t)(sizeof receipt - 1));
    sockets_wait(&sockets, 1000);
    quorate_step(&client, ++now);
    CHECK_EQUAL(quorate_counts(&client).delivered, 32);
    close(connection);
}

static void an_answer_without_end_takes_no_step_longer_than_others(void)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    static char more[65536];
    char left;
    int connection;

    fresh();
    record_many(1);
    connection = accepted();
    CHECK(connection >= 0 && send(connection, head, sizeof head - 1, 0) > 0);
    memset(more, ' ', sizeof more);
    CHECK(send(connection, more, sizeof more, MSG_DONTWAIT) > 8192);
    sockets_wait(&sockets, 1000);
    quorate_step(&client, ++now);
    CHECK(recv(sockets.socket, &left, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
    close(connection);
}

int main(void)
{
    listen_here();
    the_next_address_is_tried_where_one_does_not_answer();
    a_request_goes_out_in_parts_and_whole();
    an_answer_without_end_takes_no_step_longer_than_others();
    puts("stream: every address, in parts, without end");
    return 0;
}
