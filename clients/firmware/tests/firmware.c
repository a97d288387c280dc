/* SPDX-License-Identifier: Apache-2.0
 *
 * A firmware that does nothing else, to measure what the client adds: flash, a stream with HTTP, one family of events.
 */
#include "device_usage.h"

struct quorate client;
struct quorate_http http;
struct quorate_config config;
char head[192];
char batch[1024];

/* Stand for a driver and a network: their size is not ours. */
extern int flash_read(void *context, uint32_t address, void *bytes, uint32_t length);
extern int flash_program(void *context, uint32_t address, const void *bytes, uint32_t length);
extern int flash_erase(void *context, uint32_t address);
extern bool stream_send(const char *bytes, size_t length);
extern int stream_receive(char *bytes, size_t length);
extern uint32_t tick(void);

static bool post(void *context, struct quorate *sender, const char *body, size_t length)
{
    size_t head_bytes = quorate_http_head(head, sizeof head, "example.org", "qd_key", length);

    (void)context, (void)sender;
    quorate_http_begin(&http);
    return stream_send(head, head_bytes) && stream_send(body, length);
}

static void poll(void *context, struct quorate *sender)
{
    char bytes[64];
    int length = stream_receive(bytes, sizeof bytes);

    (void)context;
    if (length > 0) {
        quorate_http_take(&http, sender, bytes, (size_t)length);
    } else if (length < 0) {
        quorate_http_closed(&http, sender);
    }
}

static void cancel(void *context, struct quorate *sender)
{
    (void)context, (void)sender;
}

void firmware(void)
{
    static const char common[] = "\"serial_number\":\"X1-000417\"";
    struct device_usage event = {.product = "x1", .version = "3.8.1", .has_duration = true, .duration_ms = 14230};

    config.storage = (struct quorate_storage){NULL, flash_read, flash_program, flash_erase, 4096, 16, 8};
    config.transport = (struct quorate_transport){NULL, post, poll, cancel};
    config.common = common;
    config.common_bytes = sizeof common - 1;
    config.batch = batch;
    config.batch_bytes = sizeof batch;
    config.boot = 1;
    quorate_init(&client, &config, tick());
    for (;;) {
        device_usage_record(&client, &event, tick());
        quorate_step(&client, tick());
    }
}
