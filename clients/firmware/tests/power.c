/* SPDX-License-Identifier: Apache-2.0
 *
 * Power goes off after each byte that a run writes or erases, one after the other; then the device starts again and
 * carries on. Every event whose recording was confirmed must reach the service, under a number of its own, or be
 * counted as dropped where there was no room.
 *
 *     power [STEP]    tries each STEPth byte; 1 if not given
 */
#include "check.h"
#include "device_usage.h"
#include "flash.h"
#include "service.h"

#include <string.h>

enum { EVENTS = 60, BATCH_BYTES = 1024 };

char check_context[128] = "";

struct device {
    struct quorate client;
    struct quorate_config config;
    char batch[BATCH_BYTES];
    uint32_t now;
};

static struct flash flash;
static struct service service;
static bool confirmed[EVENTS + 1];

struct layout {
    const char *name;
    uint32_t sector_bytes, sectors, program_bytes;
    enum quorate_when_full when_full;
    bool is_online;      /* from the beginning; else only at the end */
    uint32_t retry_each;
    uint32_t second;     /* power goes off once more, so many bytes later; 0: not */
};

static void start(struct device *device, const struct layout *layout)
{
    static const char common[] = "\"serial_number\":\"X1-000417\"";

    memset(device, 0, sizeof *device);
    device->config.storage = flash_storage(&flash, layout->sectors);
    device->config.transport = service_transport(&service);
    device->config.common = common;
    device->config.common_bytes = sizeof common - 1;
    device->config.batch = device->batch;
    device->config.batch_bytes = sizeof device->batch;
    device->config.boot = 1;
    device->config.when_full = layout->when_full;
    CHECK_EQUAL(quorate_init(&device->client, &device->config, 0), QUORATE_OK);
}

static void send_all(struct device *device, uint32_t steps)
{
    for (; steps > 0 && !flash.is_off && quorate_waiting(&device->client) > 0; steps--) {
        quorate_flush(&device->client);
        device->now += 1000;
        quorate_step(&device->client, device->now);
    }
}

/* Records from event `from` on, until power goes off; gives the first event that was not confirmed. */
static uint32_t run(struct device *device, const struct layout *layout, uint32_t from)
{
    uint32_t i;

    for (i = from; i <= EVENTS && !flash.is_off; i++) {
        struct device_usage event = {.product = "x1", .feature = "implant", .has_duration = true, .duration_ms = i};
        device->now += 10;
        if (device_usage_record(&device->client, &event, device->now) == QUORATE_OK && !flash.is_off) {
            confirmed[i] = true;
        }
        if (layout->is_online && i % 7 == 0) {
            send_all(device, 20);
        }
    }
    return i;
}

static void check(const struct device *device, const struct layout *layout, uint32_t lost)
{
    struct quorate_counts counts = quorate_counts(&device->client);
    uint32_t all = counts.delivered + counts.dropped + quorate_waiting(&device->client);
    uint32_t sure = 0, arrived = 0, i;

    for (i = 1; i <= EVENTS; i++) {
        sure += confirmed[i];
        arrived += confirmed[i] && service_stored(&service, i);
        if (layout->is_online || layout->sectors * layout->sector_bytes > 200 * EVENTS) {
            CHECK(!confirmed[i] || service_stored(&service, i));
        }
    }
    CHECK_EQUAL(service.conflicts, 0);
    CHECK_EQUAL(quorate_waiting(&device->client), 0);
    /* An event may have been written to its last byte when power went off, and nobody was told. */
    CHECK(service.stored >= arrived && service.stored <= arrived + lost);
    CHECK(arrived + counts.dropped >= sure);
    CHECK(all >= sure && all <= EVENTS);
    if (layout->when_full == QUORATE_DROP_OLDEST && arrived < sure) {
        /* The newest are there without a gap. */
        for (i = EVENTS; i > 0 && (!confirmed[i] || service_stored(&service, i)); i--) {
        }
        for (; i > 0; i--) {
            CHECK(!confirmed[i] || !service_stored(&service, i));
        }
    }
}

/* One run with power for `power` bytes; false once that was enough for all of it. */
static bool try(const struct layout *layout, uint64_t power)
{
    static struct device device;
    uint32_t next, lost = 0;

    snprintf(check_context, sizeof check_context, "%s, power for %llu bytes", layout->name,
             (unsigned long long)power);
    flash_begin(&flash, layout->sector_bytes, layout->program_bytes, (uint32_t)power + 1, true);
    memset(&service, 0, sizeof service);
    memset(confirmed, 0, sizeof confirmed);
    service.mood = layout->is_online ? MOOD_WELL : MOOD_LOST_REQUEST;
    service.retry_each = layout->retry_each;
    flash_on(&flash, power);
    start(&device, layout);
    next = run(&device, layout, 1);
    if (flash.is_off) {
        lost++;
        flash_on(&flash, layout->second == 0 ? FLASH_FOR_EVER : layout->second);
        start(&device, layout);
        next = run(&device, layout, next);
        if (flash.is_off) {
            lost++;
            flash_on(&flash, FLASH_FOR_EVER);
            start(&device, layout);
            run(&device, layout, next);
        }
    }
    flash_on(&flash, FLASH_FOR_EVER);
    service.mood = MOOD_WELL;
    service.retry_each = 0;
    device.now += 10 * 3600 * 1000;
    send_all(&device, 1000);
    check(&device, layout, lost);
    return lost > 0;
}

int main(int count, char **arguments)
{
    static const struct layout layouts[] = {
        {"online, bytes", 512, 4, 1, QUORATE_DROP_OLDEST, true, 0, 0},
        {"online, words of 8", 512, 4, 8, QUORATE_DROP_OLDEST, true, 0, 0},
        {"online, words of 32, two sectors", 1024, 2, 32, QUORATE_DROP_NEWEST, true, 0, 0},
        {"online, twice", 512, 4, 8, QUORATE_DROP_OLDEST, true, 0, 333},
        {"online, some asked for again", 2048, 4, 4, QUORATE_DROP_OLDEST, true, 20, 0},
        {"offline, room for all", 4096, 4, 8, QUORATE_DROP_OLDEST, false, 0, 0},
        {"offline, oldest dropped", 512, 4, 8, QUORATE_DROP_OLDEST, false, 0, 0},
        {"offline, newest dropped", 512, 4, 8, QUORATE_DROP_NEWEST, false, 0, 0},
        {"offline, oldest dropped, twice", 512, 3, 4, QUORATE_DROP_OLDEST, false, 0, 700},
    };
    uint64_t step = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
    size_t i;

    for (i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        uint64_t power = 0, runs = 0;
        for (; try(&layouts[i], power); power += step) {
            runs++;
        }
        printf("power: %-36s %6llu power losses, %llu bytes written\n", layouts[i].name, (unsigned long long)runs,
               (unsigned long long)flash.written);
    }
    return 0;
}
