/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an answer, in parts of any size: the parser ends, nothing is believed that was not sent, every event
 * stays accounted for.
 */
#include "quorate.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS = 8 };

static struct quorate client;
static struct quorate_memory memory;
static uint8_t bytes[4096];
static char batch[2048];

static bool post(void *context, struct quorate *sender, const char *body, size_t length)
{
    (void)context, (void)sender, (void)body, (void)length;
    return true;
}

static void cancel(void *context, struct quorate *sender)
{
    (void)context, (void)sender;
}

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void begin(struct quorate_config *config)
{
    struct quorate_writer writer;
    char text[64];
    int i;

    memset(config, 0, sizeof *config);
    memset(bytes, 0, sizeof bytes);
    quorate_storage_in_memory(&config->storage, &memory, bytes, sizeof bytes, 4);
    config->transport.send = post;
    config->transport.cancel = cancel;
    config->batch = batch;
    config->batch_bytes = sizeof batch;
    config->boot = 1;
    must(quorate_init(&client, config, 0) == QUORATE_OK);
    for (i = 0; i < EVENTS; i++) {
        quorate_write_begin(&writer, text, sizeof text);
        quorate_write_integer(&writer, "duration", i, 0, 100);
        must(quorate_record(&client, &writer, 0) == QUORATE_OK);
    }
    quorate_flush(&client);
    quorate_step(&client, 1);
    must(client.flight == EVENTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quorate_config config;
    struct quorate_http http;
    struct quorate_counts counts;
    size_t part, at;

    if (size < 1) {
        return 0;
    }
    begin(&config);
    part = 1u + data[0];
    quorate_http_begin(&http);
    for (at = 1; at < size && !http.over; at += part) {
        /* A copy of its own size, so that a read beyond its end is found. */
        size_t length = size - at < part ? size - at : part;
        char *copy = malloc(length);
        must(copy != NULL);
        memcpy(copy, data + at, length);
        quorate_http_take(&http, &client, copy, length);
        free(copy);
    }
    quorate_http_closed(&http, &client);
    counts = quorate_counts(&client);
    must(client.flight == 0);
    must(counts.delivered + counts.refused + quorate_waiting(&client) == EVENTS);
    must(quorate_waiting(&client) == EVENTS || quorate_status(&client) < 300 || quorate_status(&client) == 400);
    must(quorate_step(&client, 2) > 0 || client.flight > 0 || client.not_before <= client.now);
    return 0;
}
