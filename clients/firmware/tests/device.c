/* SPDX-License-Identifier: Apache-2.0
 *
 * A device for tests/drive.py: real sockets, a clock that runs faster, flash in a file that loses power after a given
 * number of bytes. Events are told apart by their duration: event I has 100 * I milliseconds.
 *
 *     device HOST PORT KEY SERIAL FLASH CONFIRMED FIRST LAST SPEED POWER SECONDS PRODUCT
 *
 * Writes to CONFIRMED each I whose recording was confirmed. POWER 0: it stays on. Ends after LAST was delivered, after
 * SECONDS, or with status 9 when power is lost; then the next event to record is the last line of what it prints.
 */
#define _POSIX_C_SOURCE 200809L

#include "device_usage.h"
#include "sockets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR_BYTES = 4096, SECTORS = 16, PROGRAM_BYTES = 8, BATCH_BYTES = 2048 };

/* All that the client and its transport keep in memory, by its page. */
enum { MEMORY_BYTES_MAX = 4096 };
typedef char memory_is_enough[sizeof(struct quorate) + sizeof(struct quorate_config) + sizeof(struct sockets) + BATCH_BYTES +
                                      DEVICE_COMMON_BYTES <= MEMORY_BYTES_MAX ? 1 : -1];

struct file_flash {
    int file;
    uint64_t power;
    bool is_off;
};

static struct file_flash flash;
static uint32_t speed;
static const char *product;
static struct timespec began;

static uint64_t real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - began.tv_sec) * 1000u + (uint64_t)(now.tv_nsec / 1000000) -
           (uint64_t)(began.tv_nsec / 1000000);
}

static uint32_t now_ms(void)
{
    return (uint32_t)(real_ms() * speed);
}

static int flash_read(void *context, uint32_t address, void *bytes, uint32_t length)
{
    (void)context;
    return !flash.is_off && pread(flash.file, bytes, length, (off_t)address) == (ssize_t)length ? 0 : -1;
}

static int flash_write(uint32_t address, const void *bytes, uint32_t length)
{
    uint32_t part = length;

    if (flash.power > 0) {
        part = flash.power <= length ? (uint32_t)flash.power - 1 : length;
        flash.power -= part;
    }
    if (flash.is_off || pwrite(flash.file, bytes, part, (off_t)address) != (ssize_t)part) {
        return -1;
    }
    flash.is_off = part < length;
    return flash.is_off ? -1 : 0;
}

static int flash_program(void *context, uint32_t address, const void *bytes, uint32_t length)
{
    (void)context;
    return flash_write(address, bytes, length);
}

static int flash_erase(void *context, uint32_t address)
{
    static uint8_t erased[SECTOR_BYTES];

    (void)context;
    memset(erased, 0xff, sizeof erased);
    return flash_write(address, erased, sizeof erased);
}

static enum quorate_result record(struct quorate *client, uint32_t number)
{
    struct device_usage event = {
        .product = product,
        .version = "3.8.1",
        .feature = number % 2 == 0 ? "implant" : "airway",
        .has_duration = true,
        .duration_ms = 100 * number,
        .error = number % 10 == 0 ? "E042" : NULL,
    };

    return device_usage_record(client, &event, now_ms());
}

static int end(const struct quorate *client, uint32_t next)
{
    struct quorate_counts counts = quorate_counts(client);

    printf("{\"delivered\":%u,\"refused\":%u,\"dropped\":%u,\"unfit\":%u,\"failed\":%u,\"damaged\":%u,\"waiting\":%u,"
           "\"status\":%u,\"simulated_ms\":%llu}\n%u\n",
           counts.delivered, counts.refused, counts.dropped, counts.unfit, counts.failed, counts.damaged,
           quorate_waiting(client), quorate_status(client), (unsigned long long)(real_ms() * speed), next);
    return flash.is_off ? 9 : 0;
}

static int run(struct quorate *client, const struct sockets *sockets, FILE *confirmed, uint32_t next, uint32_t last,
               uint64_t most_ms)
{
    while (!flash.is_off && real_ms() < most_ms && (next <= last || quorate_waiting(client) > 0)) {
        if (next <= last && record(client, next) == QUORATE_OK && !flash.is_off) {
            fprintf(confirmed, "%u\n", next);
            fflush(confirmed);
        }
        next += next <= last;
        if (next > last) {
            quorate_flush(client);
        }
        quorate_step(client, now_ms());
        sockets_wait(sockets, next > last ? 5 : 1);
    }
    return end(client, next);
}

int main(int count, char **arguments)
{
    static struct quorate client;
    static struct sockets sockets;
    static char batch[BATCH_BYTES], common[DEVICE_COMMON_BYTES];
    struct quorate_config config = {.batch = batch, .batch_bytes = sizeof batch, .common = common};
    struct quorate_storage storage = {NULL, flash_read, flash_program, flash_erase, SECTOR_BYTES, SECTORS,
                                      PROGRAM_BYTES};
    struct quorate_writer writer;
    FILE *confirmed;

    if (count != 13) {
        fprintf(stderr, "usage: see tests/device.c\n");
        return 2;
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    quorate_write_begin(&writer, common, sizeof common);
    device_common_write(&(struct device_common){.serial_number = arguments[4]}, &writer);
    sockets_begin(&sockets, arguments[1], arguments[2], arguments[3]);
    flash.file = open(arguments[5], O_RDWR | O_CREAT, 0600);
    confirmed = fopen(arguments[6], "a");
    speed = (uint32_t)strtoul(arguments[9], NULL, 10);
    product = arguments[12];
    flash.power = strtoull(arguments[10], NULL, 10);
    config.common_bytes = writer.length;
    config.boot = 1;
    config.storage = storage;
    config.transport = sockets_transport(&sockets);
    /* Five real seconds, however fast the clock is. */
    config.answer_ms = 5000 * speed;
    if (flash.file < 0 || ftruncate(flash.file, (off_t)SECTOR_BYTES * SECTORS) != 0 || confirmed == NULL ||
        quorate_init(&client, &config, now_ms()) != QUORATE_OK) {
        fprintf(stderr, "cannot start\n");
        return 2;
    }
    return run(&client, &sockets, confirmed, (uint32_t)strtoul(arguments[7], NULL, 10),
               (uint32_t)strtoul(arguments[8], NULL, 10), 1000 * strtoull(arguments[11], NULL, 10));
}
