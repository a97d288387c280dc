/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number_of(const char *from, const char *to, const char *name, uint64_t otherwise)
{
    size_t length = strlen(name);
    const char *at;

    for (at = from; at + length < to; at++) {
        if (memcmp(at, name, length) == 0) {
            return strtoull(at + length, NULL, 10);
        }
    }
    return otherwise;
}

/* The end of the object that begins at `from`; objects in it and texts with brackets are passed over. */
static const char *object_end(const char *from, const char *to)
{
    unsigned depth = 0;
    bool in_text = false;

    for (; from < to; from++) {
        if (in_text) {
            from += *from == '\\';
            in_text = *from != '"' || from[-1] == '\\';
        } else if (*from == '"') {
            in_text = true;
        } else if (*from == '{') {
            depth++;
        } else if (*from == '}' && --depth == 0) {
            return from + 1;
        }
    }
    fprintf(stderr, "service: the request is cut\n");
    abort();
}

/* Whether it is a copy; remembers it if not. */
static bool is_copy(struct service *service, uint64_t id, uint32_t duration, bool is_refused)
{
    uint32_t i;

    for (i = 0; i < service->known; i++) {
        if (service->ids[i] == id) {
            service->conflicts += service->durations[i] != duration;
            return true;
        }
    }
    if (service->known == SERVICE_EVENTS_MAX) {
        abort();
    }
    service->ids[service->known] = id;
    service->durations[service->known] = duration;
    service->was_refused[service->known] = is_refused;
    service->known++;
    return false;
}

/* Takes the events of the request; writes the receipt, in the service's own order of names. */
static unsigned take(struct service *service)
{
    const char *end = service->body + service->body_bytes;
    const char *at = strstr(service->body, ",\"events\":[");
    uint64_t boot = number_of(service->body, at, "},\"boot\":", 0);
    uint32_t accepted = 0, refused = 0, index = 0;
    char list[SERVICE_ANSWER_BYTES / 2];
    size_t length = 0;

    for (at += 11; *at == '{'; at += *at == ',') {
        const char *event = at;
        uint32_t duration, seq;
        bool is_refused, retry;
        at = object_end(at, end);
        seq = (uint32_t)number_of(event, at, "\"seq\":", 0);
        duration = (uint32_t)number_of(event, at, "\"duration\":", 0);
        retry = service->retry_each != 0 && duration % service->retry_each == 0;
        is_refused = !retry && service->refuse_each != 0 && duration % service->refuse_each == 0;
        if (retry || is_refused) {
            length += (size_t)snprintf(list + length, sizeof list - length,
                                       "%s{\"index\":%u,\"reason\":\"out_of_range\",\"field\":\"duration\","
                                       "\"expected\":\"a [\\\"number\\\"] {from} 0\",\"retry\":%s}",
                                       refused > 0 ? "," : "", index, retry ? "true" : "false");
            refused++;
        } else {
            accepted++;
        }
        if (!retry && !is_copy(service, number_of(event, at, "\"boot\":", boot) << 32 | seq, duration, is_refused)) {
            service->stored += !is_refused;
            service->refused += is_refused;
        } else if (!retry) {
            service->copies++;
        }
        index++;
    }
    service->events_last = index;
    snprintf(service->answer, sizeof service->answer,
             "{%s\"accepted\":%u,\"refused\":[%.*s],\"refused_total\":%u,\"changed\":[],\"changed_total\":0,"
             "\"undeclared\":0}",
             accepted == 0 ? "\"error\":\"all_refused\",\"message\":\"every event\",\"retry\":false," : "", accepted,
             (int)length, list, refused);
    return accepted == 0 ? 400 : 202;
}

static void hand_on(struct service *service, struct quorate *client, size_t length)
{
    size_t part = service->part_bytes == 0 ? length : service->part_bytes;
    size_t at;

    for (at = 0; at < length; at += part) {
        quorate_answer_body(client, service->answer + at, length - at < part ? length - at : part);
    }
}

static void answer(void *context, struct quorate *client)
{
    struct service *service = context;
    unsigned status;

    if (service->body == NULL || service->mood == MOOD_SILENT) {
        return;
    }
    service->requests++;
    if (service->mood == MOOD_LOST_REQUEST) {
        service->body = NULL;
        quorate_answer_end(client, false);
    } else if (service->mood == MOOD_STATUS) {
        snprintf(service->answer, sizeof service->answer, "%s", service->text == NULL ? "" : service->text);
        service->body = NULL;
        quorate_answer_begin(client, service->status, service->retry_after_s);
        hand_on(service, client, strlen(service->answer));
        quorate_answer_end(client, true);
    } else if (service->bytes_max != 0 && service->body_bytes > service->bytes_max) {
        service->body = NULL;
        quorate_answer_begin(client, 413, 0);
        quorate_answer_end(client, false);
    } else {
        status = take(service);
        service->body = NULL;
        if (service->mood != MOOD_LOST_ANSWER) {
            quorate_answer_begin(client, status, 0);
            hand_on(service, client, strlen(service->answer) / (service->mood == MOOD_CUT_ANSWER ? 2 : 1));
        }
        quorate_answer_end(client, service->mood == MOOD_WELL);
    }
}

static bool post(void *context, struct quorate *client, const char *body, size_t length)
{
    struct service *service = context;

    if (length >= sizeof service->last) {
        abort();
    }
    memcpy(service->last, body, length);
    service->last[length] = '\0';
    service->body = service->last;
    service->body_bytes = length;
    if (service->answers_at_once) {
        answer(service, client);
    }
    return true;
}

static void cancel(void *context, struct quorate *client)
{
    struct service *service = context;

    (void)client;
    service->body = NULL;
}

struct quorate_transport service_transport(struct service *service)
{
    struct quorate_transport transport = {service, post, answer, cancel};
    return transport;
}

bool service_has(const struct service *service, uint32_t duration)
{
    uint32_t i = 0;

    while (i < service->known && service->durations[i] != duration) {
        i++;
    }
    return i < service->known;
}

bool service_stored(const struct service *service, uint32_t duration)
{
    uint32_t i = 0;

    while (i < service->known && service->durations[i] != duration) {
        i++;
    }
    return i < service->known && !service->was_refused[i];
}
