/* SPDX-License-Identifier: Apache-2.0
 *
 * A service within the process: reads requests, knows second copies by (boot, seq), answers as it is told, and counts.
 * Events are told apart by their `duration`, which the tests make unique.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "quorate.h"

enum { SERVICE_EVENTS_MAX = 4096, SERVICE_ANSWER_BYTES = 16384 };

enum mood {
    MOOD_WELL,
    MOOD_LOST_REQUEST, /* the connection breaks before the service has seen anything */
    MOOD_LOST_ANSWER,  /* everything is stored, and nobody hears of it */
    MOOD_CUT_ANSWER,   /* everything is stored, and half of the answer arrives */
    MOOD_STATUS,       /* `status`, `retry_after_s` and `text` of the service's own */
    MOOD_SILENT        /* no answer ever */
};

struct service {
    enum mood mood;
    unsigned status;
    uint32_t retry_after_s;
    const char *text;
    uint32_t bytes_max;   /* more is answered 413, if not 0 */
    uint32_t part_bytes;  /* answers come in parts of so many bytes, if not 0 */
    uint32_t refuse_each; /* each such event is refused for good, by duration, if not 0 */
    uint32_t retry_each;  /* the same, to be sent again */
    /* What came. */
    uint32_t requests;
    uint32_t stored;
    uint32_t refused;
    uint32_t copies;
    uint32_t conflicts;   /* another event under a known number */
    uint32_t events_last; /* in the last request */
    uint64_t ids[SERVICE_EVENTS_MAX];
    uint32_t durations[SERVICE_EVENTS_MAX];
    bool was_refused[SERVICE_EVENTS_MAX];
    uint32_t known;
    /* The request under way. */
    const char *body;
    size_t body_bytes;
    char last[8192];
    bool answers_at_once;
    char answer[SERVICE_ANSWER_BYTES];
};

struct quorate_transport service_transport(struct service *service);
/* Whether the event of this duration was stored, or refused for good. */
bool service_has(const struct service *service, uint32_t duration);
/* The same, stored only. */
bool service_stored(const struct service *service, uint32_t duration);

#endif
