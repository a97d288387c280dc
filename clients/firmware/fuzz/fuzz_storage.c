/* SPDX-License-Identifier: Apache-2.0
 *
 * Any contents of the storage: a valid image with bytes changed and, now and then, its checksums made right again. The
 * client starts, records, sends, starts again, reads and writes only where it may, and comes to an end.
 */
#include "quorate.h"
#include "flash.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>

enum { SECTOR_BYTES = 512, SECTORS = 4 };

static struct flash flash;
static struct service service;
static struct quorate client;
static struct quorate_config config;
static char batch[1024];

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void record(uint32_t duration)
{
    struct quorate_writer writer;
    char text[64];

    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_integer(&writer, "duration", duration, 0, 0xffffffff);
    quorate_record(&client, &writer, 0);
}

static void image(uint32_t program_bytes)
{
    uint32_t i;

    flash_begin(&flash, SECTOR_BYTES, program_bytes, 1, true);
    memset(&service, 0, sizeof service);
    memset(&config, 0, sizeof config);
    config.storage = flash_storage(&flash, SECTORS);
    config.transport = service_transport(&service);
    config.batch = batch;
    config.batch_bytes = sizeof batch;
    config.boot = 1;
    config.batch_events = 4;
    service.retry_each = 9;
    must(quorate_init(&client, &config, 0) == QUORATE_OK);
    for (i = 1; i < 30; i++) {
        record(i);
        if (i % 8 == 0) {
            quorate_flush(&client);
            quorate_step(&client, 0);
            quorate_step(&client, 0);
        }
    }
}

static uint32_t crc(uint32_t sum, const uint8_t *bytes, uint32_t length)
{
    uint32_t i, bit;

    for (i = 0; i < length; i++) {
        sum ^= bytes[i];
        for (bit = 0; bit < 8; bit++) {
            sum = (sum >> 1) ^ ((sum & 1u) != 0 ? 0xedb88320u : 0);
        }
    }
    return sum;
}

/* Makes what is at `at` a record by its kind and checksum, whatever it was. */
static void mend(uint32_t at, uint8_t kind)
{
    uint8_t *head = flash.bytes + at;
    uint32_t length, sum;

    if (at + 8 > SECTOR_BYTES * SECTORS) {
        return;
    }
    head[0] = (uint8_t)(0xa1 + kind % 4);
    head[1] = (uint8_t)~head[0];
    length = head[2] | (uint32_t)head[3] << 8;
    if (length > SECTOR_BYTES * SECTORS - at - 8) {
        return;
    }
    sum = ~crc(crc(0xffffffffu, head, 4), head + 8, length);
    head[4] = (uint8_t)sum;
    head[5] = (uint8_t)(sum >> 8);
    head[6] = (uint8_t)(sum >> 16);
    head[7] = (uint8_t)(sum >> 24);
}

static void change(const uint8_t *data, size_t size)
{
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t at = (data[0] | (uint32_t)data[1] << 8) % (SECTOR_BYTES * SECTORS);
        if (data[2] % 4 == 3) {
            mend(at & ~(flash.program_bytes - 1), data[3]);
        } else {
            flash.bytes[at] = data[3];
        }
    }
}

static void live(void)
{
    uint32_t now = 0, i;

    must(quorate_init(&client, &config, now) == QUORATE_OK);
    for (i = 0; i < 40; i++) {
        record(1000 + i);
        now += 600000;
        quorate_flush(&client);
        quorate_step(&client, now);
        quorate_step(&client, now);
    }
    for (i = 0; i < 200 && quorate_waiting(&client) > 0; i++) {
        now += 90000000;
        quorate_flush(&client);
        quorate_step(&client, now);
        quorate_step(&client, now);
    }
    must(quorate_waiting(&client) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    image(1u << data[0] % 6);
    change(data + 1, size - 1);
    service.retry_each = 0;
    service.mood = MOOD_STATUS;
    /* The service of the tests reads only what it wrote; here events can be any bytes. */
    service.status = 413;
    live();
    live();
    return 0;
}
