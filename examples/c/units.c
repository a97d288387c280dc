/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that counts its own use: which of its conversions are asked for, how long they take, what fails.
 *
 *     QUORATE_HOST=127.0.0.1 QUORATE_PORT=8080 QUORATE_KEY=qd_… ./units feet 3
 *
 * It works as it would without counting: nobody waits for the service longer than a moment, and what could not be sent
 * waits in a file for the next use. Without a key nothing is counted.
 */
#define _POSIX_C_SOURCE 200809L

#include "device_usage.h"
#include "file.h"
#include "sockets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Longest wait for the service. */
enum { PATIENCE_MS = 2000, BATCH_BYTES = 4096 };

/* ---- what the program is for ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double factor;
    const char *into;
} units[] = {{"feet", 0.3048, "m"}, {"miles", 1.609344, "km"}, {"pounds", 0.45359237, "kg"}};

/* Code of an error, NULL if there was none; `unit` is the name of what was asked for, if it is known. */
static const char *convert(int count, char **words, const char **unit)
{
    char *end = NULL;
    double value;
    size_t i;

    if (count != 3) {
        return "E1";
    }
    value = strtod(words[2], &end);
    for (i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(words[1], units[i].name) == 0) {
            *unit = units[i].name;
            if (end == words[2] || *end != '\0') {
                return "E2";
            }
            printf("%g %s\n", value * units[i].factor, units[i].into);
            return NULL;
        }
    }
    return "E3";
}

/* ---- counting -------------------------------------------------------------------------------------------------- */

static uint64_t milliseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint32_t uptime_ms(void)
{
    return (uint32_t)milliseconds(CLOCK_MONOTONIC);
}

static uint64_t calendar_ms(void *context)
{
    (void)context;
    return milliseconds(CLOCK_REALTIME);
}

/* A folder of this program's own; false if there is no place for one. */
static bool in_state_folder(char *path, size_t room, const char *name)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = state != NULL ? snprintf(path, room, "%s/units", state)
                               : snprintf(path, room, "%s/.units", home != NULL ? home : ".");

    if (length < 0 || (size_t)length + strlen(name) + 2 > room) {
        return false;
    }
    mkdir(path, 0700);
    snprintf(path + length, room - (size_t)length, "/%s", name);
    return true;
}

/* Sixteen random hexadecimal digits, made at the first use: they say nothing but that two uses are of one installation,
 * and the service keeps a pseudonym of them that lives for four weeks. */
static bool installation(char id[17])
{
    char path[512];
    uint8_t random[8];
    size_t i;
    bool is_there;
    FILE *file;

    if (!in_state_folder(path, sizeof path, "installation")) {
        return false;
    }
    file = fopen(path, "r");
    is_there = file != NULL && fread(id, 1, 16, file) == 16;
    id[16] = '\0';
    if (file != NULL) {
        fclose(file);
    }
    if (is_there) {
        return true;
    }
    file = fopen("/dev/urandom", "rb");
    if (file == NULL || fread(random, 1, sizeof random, file) != sizeof random) {
        return false;
    }
    fclose(file);
    for (i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
    file = fopen(path, "w");
    return file != NULL && fputs(id, file) >= 0 && fclose(file) == 0;
}

/* Keeps the event, and sends it with those that wait if the service is within reach. */
static void count_use(const struct device_usage *event, const char *key)
{
    static struct quorate client;
    static struct sockets sockets;
    static struct file_storage file;
    static char batch[BATCH_BYTES], common[DEVICE_COMMON_BYTES], path[512], id[17];
    const char *host = getenv("QUORATE_HOST"), *port = getenv("QUORATE_PORT");
    struct quorate_config config = {.batch = batch, .batch_bytes = sizeof batch, .common = common};
    struct quorate_writer writer;
    uint32_t began = uptime_ms();

    /* Another one that runs now has the file: this use is not counted. */
    if (!installation(id) || !in_state_folder(path, sizeof path, "events") ||
        !file_storage_open(&file, path, &config.storage)) {
        return;
    }
    quorate_write_begin(&writer, common, sizeof common);
    device_common_write(&(struct device_common){.serial_number = id}, &writer);
    config.common_bytes = writer.length;
    sockets_begin(&sockets, host != NULL ? host : "127.0.0.1", port != NULL ? port : "8080", key);
    config.transport = sockets_transport(&sockets);
    config.boot = (uint32_t)(milliseconds(CLOCK_REALTIME) / 1000u);
    config.calendar_ms = calendar_ms;
    if (quorate_init(&client, &config, uptime_ms()) != QUORATE_OK) {
        return;
    }
    device_usage_record(&client, event, uptime_ms());
    quorate_flush(&client);
    /* Until there is nothing to do at once any more: all is sent, or it did not work and has time. */
    while (quorate_step(&client, uptime_ms()) == 0 && uptime_ms() - began < PATIENCE_MS) {
        sockets_wait(&sockets, 50);
    }
}

int main(int count, char **words)
{
    const char *key = getenv("QUORATE_KEY"), *unit = NULL;
    uint32_t began = uptime_ms();
    const char *error = convert(count, words, &unit);
    struct device_usage event = {.product = "units", .version = "1.0.0", .feature = unit, .error = error};

    if (error != NULL) {
        fprintf(stderr, "usage: units feet|miles|pounds NUMBER\n");
    }
    fflush(stdout);
    event.has_duration = true;
    event.duration_ms = uptime_ms() - began;
    if (key != NULL) {
        count_use(&event, key);
    }
    return error != NULL ? 2 : 0;
}
