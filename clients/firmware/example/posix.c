/* SPDX-License-Identifier: Apache-2.0
 *
 * A device on a POSIX system: each line of standard input, `FEATURE [MILLISECONDS [ERROR]]`, is one use of it. Events
 * wait in a file that is treated as flash; kill the program at any time and start it again.
 *
 *     posix HOST PORT KEY SERIAL_NUMBER FILE < uses
 */
#define _POSIX_C_SOURCE 200809L

#include "device_usage.h"
#include "file.h"
#include "sockets.h"

#include <stdio.h>
#include <time.h>

enum { BATCH_BYTES = 2048 };

static uint32_t uptime_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static uint64_t calendar_ms(void *context)
{
    struct timespec now;

    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- the device ----------------------------------------------------------------------------------------------- */

static void record_line(struct quorate *client, const char *line)
{
    char feature[32] = "", error[16] = "";
    unsigned duration = 0;
    int words = sscanf(line, "%31s %u %15s", feature, &duration, error);
    struct device_usage event = {
        .product = "x1",
        .version = "3.8.1",
        .feature = feature,
        .has_duration = words >= 2,
        .duration_ms = duration,
        .error = words == 3 ? error : NULL,
    };

    if (words >= 1 && device_usage_record(client, &event, uptime_ms()) != QUORATE_OK) {
        fprintf(stderr, "not recorded: %s", line);
    }
}

static int report(const struct quorate *client)
{
    struct quorate_counts counts = quorate_counts(client);

    printf("delivered %u, refused %u, dropped %u, unfit %u, failed %u, damaged %u, waiting %u; last status %u\n",
           counts.delivered, counts.refused, counts.dropped, counts.unfit, counts.failed, counts.damaged,
           quorate_waiting(client), quorate_status(client));
    return quorate_waiting(client) == 0 ? 0 : 1;
}

int main(int count, char **arguments)
{
    static struct quorate client;
    static struct sockets sockets;
    static struct file_storage file;
    static char batch[BATCH_BYTES], common[DEVICE_COMMON_BYTES];
    struct quorate_config config = {.batch = batch, .batch_bytes = sizeof batch, .common = common};
    struct quorate_writer writer;
    char line[128];

    if (count != 6) {
        fprintf(stderr, "usage: posix HOST PORT KEY SERIAL_NUMBER FILE < uses\n");
        return 2;
    }
    quorate_write_begin(&writer, common, sizeof common);
    device_common_write(&(struct device_common){.serial_number = arguments[4]}, &writer);
    sockets_begin(&sockets, arguments[1], arguments[2], arguments[3]);
    config.common_bytes = writer.length;
    /* The file may be lost, and the numbers of earlier starts with it. */
    config.boot = (uint32_t)(calendar_ms(NULL) / 1000u);
    if (!file_storage_open(&file, arguments[5], &config.storage)) {
        perror(arguments[5]);
        return 1;
    }
    config.transport = sockets_transport(&sockets);
    config.calendar_ms = calendar_ms;
    if (writer.unfit || quorate_init(&client, &config, uptime_ms()) != QUORATE_OK) {
        fprintf(stderr, "the configuration cannot work\n");
        return 2;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        record_line(&client, line);
        quorate_step(&client, uptime_ms());
    }
    quorate_flush(&client);
    /* A device would go on for ever; this one gives up where a person has to look. */
    while (quorate_waiting(&client) > 0 && (quorate_status(&client) < 300 || quorate_status(&client) >= 408)) {
        uint32_t wait_ms = quorate_step(&client, uptime_ms());
        sockets_wait(&sockets, wait_ms == 0 || wait_ms > 100 ? 100 : (int)wait_ms);
    }
    return report(&client);
}
