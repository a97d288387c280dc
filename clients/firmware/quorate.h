/* SPDX-License-Identifier: Apache-2.0
 *
 * Quorate's client for devices: keeps events through power loss and posts them in batches, each counted once.
 *
 * In: events, written with the functions below or with those that a policy package generates. Out: bodies for
 * POST /v1/events, handed to a transport of yours. It deliberately knows no socket, no clock, no heap and no operating
 * system: memory, storage, time and transport are the caller's. C99, one header, one source, no allocation at all.
 *
 * One thread: all functions for one `struct quorate` are called from one task, none from an interrupt, and none but
 * `quorate_answer_…` from a callback. For C++ too.
 */
#ifndef QUORATE_H
#define QUORATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most events in one request: what became of each is a bit of a 32-bit word. */
#define QUORATE_BATCH_EVENTS_MAX 32u
/* Most events that wait behind their successors because the service asked for them again (`retry: true`). */
#define QUORATE_KEPT_MAX 4u
/* Bytes of a request that are neither events nor `config.common`. */
#define QUORATE_ENVELOPE_BYTES 112u
/* Bytes that an event takes in a request beside its text, at most. */
#define QUORATE_EVENT_BYTES 112u

enum quorate_result {
    QUORATE_OK = 0,
    QUORATE_FULL,    /* no room, and the oldest events are to be kept; counted in `dropped` */
    QUORATE_UNFIT,   /* a value outside its declaration, or too long for a record; counted in `unfit` */
    QUORATE_STORAGE, /* the storage could not be read or written; an event is counted in `failed` */
    QUORATE_CONFIG   /* the configuration cannot work; nothing was touched */
};

/* ---------------------------------------------------------------------------------------------------------------
 * Writing an event: names and values of one JSON object. Every text is escaped, and what is not UTF-8 becomes U+FFFD,
 * so that no value can damage the request it travels in.
 */

struct quorate_writer {
    char *text;
    size_t room;
    size_t length;
    bool unfit; /* a value did not fit its declaration, or the text its room */
};

void quorate_write_begin(struct quorate_writer *writer, char *memory, size_t bytes);
/* A text of at most `bytes_max` bytes; NULL is left out. */
void quorate_write_text(struct quorate_writer *writer, const char *name, const char *text, size_t bytes_max);
/* A whole number from `min` to `max`. */
void quorate_write_integer(struct quorate_writer *writer, const char *name, int64_t value, int64_t min, int64_t max);
/* A number from `min` to `max`, to six decimal places; magnitudes below 1e15 only. */
void quorate_write_float(struct quorate_writer *writer, const char *name, double value, double min, double max);
void quorate_write_boolean(struct quorate_writer *writer, const char *name, bool value);
/* Word number `choice` of `words`, counted from 1; 0 is left out. */
void quorate_write_choice(struct quorate_writer *writer, const char *name, unsigned choice, const char *const *words,
                          unsigned count);

/* ---------------------------------------------------------------------------------------------------------------
 * Storage: flash, or memory that is treated as such. A ring of sectors, each erased as often as the others.
 *
 * Records are appended and never changed, so flash with error correction will do, where a word can be programmed once.
 * All functions return 0 if they did what they should. Erased bytes read 0xff.
 *
 * A read that fails is tried again later, and nothing is dropped for it. So what no later read can bring back, a word whose
 * error correction has given up, say, as a power loss while programming leaves one, has to read as anything and give 0.
 */

struct quorate_storage {
    void *context;
    /* Any address and length, to any address in memory. */
    int (*read)(void *context, uint32_t address, void *bytes, uint32_t length);
    /* `address` and `length` are multiples of `program_bytes`, at most 32 bytes, and the bytes there are erased; `bytes` is
     * where a 64-bit word may lie. */
    int (*program)(void *context, uint32_t address, const void *bytes, uint32_t length);
    /* Erases the sector that begins at `address`. */
    int (*erase)(void *context, uint32_t address);
    uint32_t sector_bytes;  /* 256 to 1048576, a multiple of `program_bytes` */
    uint32_t sectors;       /* at least 2 */
    uint32_t program_bytes; /* 1, 2, 4, 8, 16 or 32 */
};

struct quorate_memory {
    uint8_t *bytes;
    uint32_t sector_bytes;
};

/* Makes a storage of `bytes` bytes of memory, in `sectors` parts. In memory that a reset leaves alone (`.noinit`),
 * events survive the reset. Drops happen a part at a time: more parts lose less at once, and hold a little less. */
void quorate_storage_in_memory(struct quorate_storage *storage, struct quorate_memory *memory, void *bytes,
                               uint32_t length, uint32_t sectors);

/* ---------------------------------------------------------------------------------------------------------------
 * Transport: how one request reaches POST /v1/events. With bytes on a stream (a socket, TLS) use the functions of
 * HTTP further down; with an HTTP library use what it has.
 */

struct quorate;

struct quorate_transport {
    void *context;
    /* Begins to send; does not wait. `body` stays as it is until the answer has ended or `cancel` is called.
     * False: could not begin, try again later. */
    bool (*send)(void *context, struct quorate *client, const char *body, size_t length);
    /* Called in each step while a request is under way; does not wait. May be NULL if answers come by themselves. */
    void (*poll)(void *context, struct quorate *client);
    /* The answer is not waited for any longer: nothing of it may be handed on after this. */
    void (*cancel)(void *context, struct quorate *client);
};

/* What a transport calls when an answer comes, in this order; the body in as many parts as it arrives in.
 * `retry_after_s` is the header of that name if it is a number, else 0. */
void quorate_answer_begin(struct quorate *client, unsigned status, uint32_t retry_after_s);
void quorate_answer_body(struct quorate *client, const char *bytes, size_t length);
/* `whole`: nothing is missing. Without an answer (no connection, a connection that broke): false. */
void quorate_answer_end(struct quorate *client, bool whole);

/* ---------------------------------------------------------------------------------------------------------------
 * The client.
 */

enum quorate_when_full {
    QUORATE_DROP_OLDEST = 0, /* the oldest sector goes, with what is unsent in it */
    QUORATE_DROP_NEWEST      /* `quorate_record` returns QUORATE_FULL */
};

struct quorate_config {
    struct quorate_storage storage;
    struct quorate_transport transport;
    /* What all events share, written with the functions above: at least the field that identifies the device, for
     * without it the service cannot tell a second copy. Stays the caller's; the storage never holds it. */
    const char *common;
    size_t common_bytes;
    /* Holds one request: its size is the limit of a batch in bytes. */
    char *batch;
    size_t batch_bytes;
    /* Number of this start, if the storage holds none yet: after that it counts by itself. One device must never use
     * a number twice, or new events would be taken for copies of old ones: give a counter of yours, the calendar's
     * seconds, or random bits, if the storage can be wiped or is plain memory; else 1. 31 bits are used, and 0 is
     * refused, for there is no value that is safe for all. */
    uint32_t boot;
    enum quorate_when_full when_full;
    /* Calendar time in milliseconds since 1970, or 0 while it is not known; NULL without such a clock. It dates events
     * of earlier starts, of which the uptime says nothing; without it those count when they are received. */
    uint64_t (*calendar_ms)(void *context);
    void *calendar_context;
    /* Each 0 stands for the value in brackets. */
    uint32_t batch_events;    /* most events in a request, at most 32 [32] */
    uint32_t linger_ms;       /* how long an event waits for company [30 s] */
    uint32_t answer_ms;       /* how long an answer is waited for [30 s; the service takes up to 15] */
    uint32_t retry_ms;        /* first wait after a failure; doubles with each [2 s] */
    uint32_t retry_ms_max;    /* longest such wait [15 min] */
    uint32_t denied_ms;       /* wait after an answer that a person has to see to, such as 401 [1 h] */
};

/* What became of every event that was given to `quorate_record`: each is in exactly one of these, or waiting. All but
 * `damaged` are kept with the events, as of the last answer or drop. */
struct quorate_counts {
    uint32_t delivered; /* acknowledged by the service */
    uint32_t refused;   /* refused by the service for good */
    uint32_t dropped;   /* for want of room */
    uint32_t unfit;     /* outside their declaration, or too long */
    uint32_t failed;    /* not taken by the storage */
    uint32_t damaged;   /* stretches of storage that were unreadable at start, as a power loss while writing leaves one */
};

/* The parser of answers: its state between two parts of a body. */
struct quorate_parser {
    uint32_t kinds;   /* a bit for each open bracket: 1 for an object */
    uint32_t number;
    uint32_t accepted;
    uint32_t refused_total;
    uint32_t index;
    uint32_t drop;    /* bits of refused events, by index */
    uint32_t keep;    /* the same, for those with `retry: true` */
    char word[16];
    uint8_t word_length;
    uint8_t depth;
    uint8_t lexeme;
    uint8_t name;     /* of the value that follows */
    uint8_t item_name;
    uint8_t seen;
    bool expects_name;
    bool retry;
    bool bad;
};

struct quorate_place {
    uint32_t sector;
    uint32_t offset;
};

/* Which events are over. An event is known by boot and seq, as one number. */
struct quorate_handled {
    uint64_t done;                    /* this one and all before it, but for those kept */
    uint64_t kept[QUORATE_KEPT_MAX];
    uint32_t kept_count;
};

/* Everything the client keeps in memory. Its fields are its own; read them through the functions. */
struct quorate {
    const struct quorate_config *config;
    struct quorate_counts counts;
    struct quorate_parser parser;
    struct quorate_handled handled;
    uint64_t now;                    /* uptime, in milliseconds */
    uint64_t started;                /* when the request under way was begun */
    uint64_t flight_sum;             /* of the numbers of the events in the request under way */
    uint64_t due;                    /* when waiting events have lingered enough */
    uint64_t not_before;             /* back-off */
    struct quorate_place head;       /* no waiting event is before it */
    uint32_t newest;                 /* sector that is written to */
    uint32_t number;                 /* its running number */
    uint32_t end;                    /* where in it the next record goes */
    uint32_t clock_last;
    uint32_t boot;
    uint32_t seq;
    uint32_t waiting;
    uint32_t random;
    uint32_t text_bytes_max;
    uint32_t retry_after_s;
    uint16_t status;
    uint8_t attempts;
    uint8_t batch_limit;
    uint8_t flight;                  /* events in the request under way; 0 if there is none */
    uint8_t flight_lost;             /* so many of them, from the first, were dropped meanwhile */
    uint8_t rotation_failures;
    bool more;                       /* the request under way does not hold all that waited when it was begun */
    bool unsaved;
    bool unreadable;                 /* the storage failed to read since this was last looked at */
};

/* Finds what earlier starts left in the storage. `config` stays the caller's and must outlive the client. `now_ms`: a
 * clock that counts on, from any value, and may wrap. QUORATE_CONFIG if the configuration cannot work, QUORATE_STORAGE if
 * the storage cannot be read now. */
enum quorate_result quorate_init(struct quorate *client, const struct quorate_config *config, uint32_t now_ms);

/* Takes one event. When QUORATE_OK comes back, it survives a power loss if the storage does. */
enum quorate_result quorate_record(struct quorate *client, const struct quorate_writer *event, uint32_t now_ms);

/* Does what is due: never waits. Gives the milliseconds until there is something to do again, at most 24 days, and 0 while
 * a request is under way. What the clock counts in more than 49 days without a call is lost. */
uint32_t quorate_step(struct quorate *client, uint32_t now_ms);

/* Lets what waits linger no longer, until nothing waits. A back-off stays. */
void quorate_flush(struct quorate *client);

/* What to do when the reason of a 401 was found, a new key was written, say: sends again at once. */
void quorate_try_again(struct quorate *client);

struct quorate_counts quorate_counts(const struct quorate *client);
/* Events that wait to be delivered. */
uint32_t quorate_waiting(const struct quorate *client);
/* Status of the last answer, 0 if there was none. */
unsigned quorate_status(const struct quorate *client);

/* ---------------------------------------------------------------------------------------------------------------
 * HTTP/1.1 for transports that carry bytes. Uses nothing of the client but `quorate_answer_…`.
 */

struct quorate_http {
    uint32_t left;         /* of the body, or of a chunk */
    uint32_t retry_after_s;
    uint16_t status;
    uint8_t state;
    uint8_t line_length;
    bool is_chunked;
    bool has_length;
    bool closes;           /* the connection cannot be used for another request */
    bool over;
    char line[40];
};

/* Writes the head of a request to POST /v1/events; gives its length, 0 if there is too little room. */
size_t quorate_http_head(char *memory, size_t bytes, const char *host, const char *key, size_t body_bytes);
void quorate_http_begin(struct quorate_http *http);
/* Takes bytes as they arrive; true once the answer has ended. Bytes behind the end are not looked at. */
bool quorate_http_take(struct quorate_http *http, struct quorate *client, const char *bytes, size_t length);
/* The connection has ended. */
void quorate_http_closed(struct quorate_http *http, struct quorate *client);

#ifdef __cplusplus
}
#endif

#endif
