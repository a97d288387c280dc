/* SPDX-License-Identifier: Apache-2.0
 *
 * From the bottom up: bytes, writing JSON, records in storage, what is done and what waits, requests, answers, HTTP.
 *
 * A record is never changed once it is written, and says by its checksum whether it was written to its end:
 *
 *     0  kind       1 byte, and its complement in the next: neither erased nor zeroed memory is a record
 *     2  length     of what follows the head, little-endian like all numbers here
 *     4  checksum   CRC-32 of the first four bytes and of what follows the head
 *     8  an event:  boot u32, seq u32, uptime u64, [calendar u64], text
 *        a state:   what is done, what was counted, and in the first record of each sector its running number
 *
 * What was delivered is not marked at the event, for a flash word can be programmed once: a later state says so. Of two
 * states the later one counts; if the last was cut, some events are sent again, and the service knows them by
 * (contributor, boot, seq). So a power loss can cost a second sending, and never an event.
 */
#include "quorate.h"

#include <string.h>

enum { KIND_SECTOR = 0xa1, KIND_STATE = 0xa2, KIND_EVENT = 0xa3, KIND_DATED_EVENT = 0xa4 };

enum {
    HEAD_BYTES = 8,
    EVENT_BYTES = 16,
    DATED_EVENT_BYTES = 24,
    STATE_BYTES = 36,
    STATE_BYTES_MAX = STATE_BYTES + 8 * (int)QUORATE_KEPT_MAX,
    /* What is read or programmed at once; a multiple of every `program_bytes`. */
    CHUNK_BYTES = 32,
    TEXT_BYTES_MIN = 32,
    /* A sector that so often did not take its first record is passed over until its turn comes again. */
    ROTATION_FAILURES_MAX = 4
};

#define SECTOR_BYTES_MIN 256u
#define SECTOR_BYTES_MAX 1048576u
#define RETRY_AFTER_S_MAX 86400u
/* A reading of the clock that is older than the last by at most this was taken before it. Not by half of what the clock
 * counts: after a sleep of a month time would stand still for as long. */
#define BACKWARD_MS_MAX 60000u
/* Longest rest: well before the clock has counted around. */
#define REST_MS_MAX 0x7fffffffu
/* Of the first start, so that as many can follow. */
#define BOOT_MAX 0x7fffffffu

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

static void put32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

static void put64(uint8_t *to, uint64_t value)
{
    put32(to, (uint32_t)value);
    put32(to + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint64_t get64(const uint8_t *from)
{
    return get32(from) | (uint64_t)get32(from + 4) << 32;
}

/* CRC-32 as in IEEE 802.3, four bits at a time: a table of 64 bytes and not of 1024. */
static uint32_t checksum(uint32_t crc, const uint8_t *bytes, size_t length)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
    };
    size_t i;

    for (i = 0; i < length; i++) {
        crc = table[(crc ^ bytes[i]) & 15u] ^ (crc >> 4);
        crc = table[(crc ^ (uint32_t)(bytes[i] >> 4)) & 15u] ^ (crc >> 4);
    }
    return crc;
}

static uint32_t at_least(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* ---- writing JSON --------------------------------------------------------------------------------------------- */

static void put(struct quorate_writer *writer, const char *bytes, size_t length)
{
    if (length > writer->room - writer->length) {
        writer->unfit = true;
        return;
    }
    /* Nothing may come from nowhere. */
    if (length > 0) {
        memcpy(writer->text + writer->length, bytes, length);
    }
    writer->length += length;
}

static void put_string(struct quorate_writer *writer, const char *string)
{
    put(writer, string, strlen(string));
}

/* By subtraction: a 64-bit division costs a small core more code than this loop costs it time. */
static void put_number(struct quorate_writer *writer, uint64_t number)
{
    static const uint64_t powers[19] = {
        10000000000000000000u, 1000000000000000000u, 100000000000000000u, 10000000000000000u, 1000000000000000u,
        100000000000000u, 10000000000000u, 1000000000000u, 100000000000u, 10000000000u, 1000000000u, 100000000u,
        10000000u, 1000000u, 100000u, 10000u, 1000u, 100u, 10u,
    };
    char digits[20];
    size_t length = 0;
    size_t i;

    for (i = 0; i < 19; i++) {
        char digit = '0';
        while (number >= powers[i]) {
            number -= powers[i];
            digit++;
        }
        if (digit != '0' || length > 0) {
            digits[length++] = digit;
        }
    }
    digits[length++] = (char)('0' + (int)number);
    put(writer, digits, length);
}

/* Bytes of the UTF-8 character at `text`, 0 if there is none: RFC 3629, without surrogates and overlong forms. */
static size_t character(const uint8_t *text)
{
    uint8_t first = text[0];
    uint8_t low = 0x80, high = 0xbf;
    size_t length, i;

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    /* A text ends with 0, which no later byte of a character can be: nothing behind the end is read. */
    for (i = 1; i < length; i++) {
        if (text[i] < low || text[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

static void put_escaped(struct quorate_writer *writer, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *at = (const uint8_t *)text;

    put(writer, "\"", 1);
    while (*at != 0) {
        size_t length = character(at);
        if (length == 0) {
            put(writer, "\\ufffd", 6);
            length = 1;
        } else if (*at == '"' || *at == '\\') {
            char escaped[2] = {'\\', (char)*at};
            put(writer, escaped, 2);
        } else if (*at < 0x20) {
            char escaped[6] = {'\\', 'u', '0', '0', hex[*at >> 4], hex[*at & 15]};
            put(writer, escaped, 6);
        } else {
            put(writer, (const char *)at, length);
        }
        at += length;
    }
    put(writer, "\"", 1);
}

static void put_name(struct quorate_writer *writer, const char *name)
{
    if (writer->length > 0) {
        put(writer, ",", 1);
    }
    put_escaped(writer, name);
    put(writer, ":", 1);
}

void quorate_write_begin(struct quorate_writer *writer, char *memory, size_t bytes)
{
    writer->text = memory;
    writer->room = bytes;
    writer->length = 0;
    writer->unfit = false;
}

void quorate_write_text(struct quorate_writer *writer, const char *name, const char *text, size_t bytes_max)
{
    if (text == NULL) {
        return;
    }
    if (strlen(text) > bytes_max) {
        writer->unfit = true;
        return;
    }
    put_name(writer, name);
    put_escaped(writer, text);
}

void quorate_write_integer(struct quorate_writer *writer, const char *name, int64_t value, int64_t min, int64_t max)
{
    if (value < min || value > max) {
        writer->unfit = true;
        return;
    }
    put_name(writer, name);
    if (value < 0) {
        put(writer, "-", 1);
        put_number(writer, 0u - (uint64_t)value);
    } else {
        put_number(writer, (uint64_t)value);
    }
}

void quorate_write_float(struct quorate_writer *writer, const char *name, double value, double min, double max)
{
    double size = value < 0 ? -value : value;
    uint64_t whole;
    uint32_t millionths, unit;

    /* Written so that it also catches what is not a number. */
    if (!(value >= min && value <= max && size < 1e15)) {
        writer->unfit = true;
        return;
    }
    whole = (uint64_t)size;
    millionths = (uint32_t)((size - (double)whole) * 1e6 + 0.5);
    if (millionths == 1000000u) {
        whole++;
        millionths = 0;
    }
    put_name(writer, name);
    put(writer, "-", value < 0 ? 1 : 0);
    put_number(writer, whole);
    put(writer, ".", 1);
    for (unit = 100000u; unit > 0; unit /= 10) {
        char digit = (char)('0' + (int)(millionths / unit % 10));
        put(writer, &digit, 1);
    }
}

void quorate_write_boolean(struct quorate_writer *writer, const char *name, bool value)
{
    put_name(writer, name);
    put_string(writer, value ? "true" : "false");
}

void quorate_write_choice(struct quorate_writer *writer, const char *name, unsigned choice, const char *const *words,
                          unsigned count)
{
    if (choice == 0) {
        return;
    }
    if (choice > count) {
        writer->unfit = true;
        return;
    }
    put_name(writer, name);
    put_escaped(writer, words[choice - 1]);
}

/* ---- memory as storage ---------------------------------------------------------------------------------------- */

static int memory_read(void *context, uint32_t address, void *bytes, uint32_t length)
{
    const struct quorate_memory *memory = context;
    memcpy(bytes, memory->bytes + address, length);
    return 0;
}

static int memory_program(void *context, uint32_t address, const void *bytes, uint32_t length)
{
    struct quorate_memory *memory = context;
    memcpy(memory->bytes + address, bytes, length);
    return 0;
}

static int memory_erase(void *context, uint32_t address)
{
    struct quorate_memory *memory = context;
    memset(memory->bytes + address, 0xff, memory->sector_bytes);
    return 0;
}

void quorate_storage_in_memory(struct quorate_storage *storage, struct quorate_memory *memory, void *bytes,
                               uint32_t length, uint32_t sectors)
{
    memory->bytes = bytes;
    memory->sector_bytes = sectors == 0 ? 0 : length / sectors;
    storage->context = memory;
    storage->read = memory_read;
    storage->program = memory_program;
    storage->erase = memory_erase;
    storage->sector_bytes = memory->sector_bytes;
    storage->sectors = sectors;
    storage->program_bytes = 1;
}

/* ---- records in storage --------------------------------------------------------------------------------------- */

struct record {
    uint64_t id;
    uint64_t uptime;
    uint64_t calendar;
    uint32_t size;        /* with its head, and up to where the next can begin */
    uint32_t text;        /* address; of a state, where it begins */
    uint32_t text_length;
    uint8_t kind;
};

static bool is_event(const struct record *record)
{
    return record->kind == KIND_EVENT || record->kind == KIND_DATED_EVENT;
}

static uint32_t rounded(const struct quorate *client, uint32_t bytes)
{
    uint32_t unit = client->config->storage.program_bytes;
    return (bytes + unit - 1) & ~(unit - 1);
}

static uint32_t address_of(const struct quorate *client, struct quorate_place place)
{
    return place.sector * client->config->storage.sector_bytes + place.offset;
}

static bool load(struct quorate *client, uint32_t address, void *bytes, uint32_t length)
{
    const struct quorate_storage *storage = &client->config->storage;

    if (storage->read(storage->context, address, bytes, length) != 0) {
        /* Not to be taken for damage: what cannot be read now may be an event that can be read later. */
        client->unreadable = true;
        return false;
    }
    return true;
}

/* Fewest bytes behind the head of a record of this kind; 0 if there is no such kind. */
static uint32_t least(uint8_t kind)
{
    switch (kind) {
    case KIND_SECTOR:
    case KIND_STATE:
        return STATE_BYTES;
    case KIND_EVENT:
        return EVENT_BYTES + 1;
    case KIND_DATED_EVENT:
        return DATED_EVENT_BYTES + 1;
    default:
        return 0;
    }
}

static void describe_event(struct record *record, const uint8_t *fixed, uint32_t address, uint32_t length)
{
    uint32_t fixed_bytes = record->kind == KIND_EVENT ? EVENT_BYTES : DATED_EVENT_BYTES;

    record->id = (uint64_t)get32(fixed) << 32 | get32(fixed + 4);
    record->uptime = get64(fixed + 8);
    record->calendar = record->kind == KIND_EVENT ? 0 : get64(fixed + 16);
    record->text = address + fixed_bytes;
    record->text_length = length - fixed_bytes;
}

/* Reads what is at `place`; false if it is no record, or not a whole one. */
static bool read_record(struct quorate *client, struct quorate_place place, struct record *record)
{
    uint32_t sector_bytes = client->config->storage.sector_bytes;
    uint32_t address = address_of(client, place) + HEAD_BYTES;
    uint8_t head[HEAD_BYTES], chunk[CHUNK_BYTES];
    uint32_t length, crc, at;

    if (place.offset + HEAD_BYTES > sector_bytes || !load(client, address - HEAD_BYTES, head, HEAD_BYTES)) {
        return false;
    }
    record->kind = head[0];
    length = head[2] | (uint32_t)head[3] << 8;
    if ((head[0] ^ head[1]) != 0xff || least(head[0]) == 0 || length < least(head[0]) ||
        length > sector_bytes - place.offset - HEAD_BYTES) {
        return false;
    }
    crc = checksum(0xffffffffu, head, 4);
    for (at = 0; at < length; at += CHUNK_BYTES) {
        uint32_t part = length - at < CHUNK_BYTES ? length - at : CHUNK_BYTES;
        if (!load(client, address + at, chunk, part)) {
            return false;
        }
        crc = checksum(crc, chunk, part);
        if (at == 0 && is_event(record)) {
            describe_event(record, chunk, address, length);
        }
    }
    if (!is_event(record)) {
        record->text = address;
        record->text_length = length;
    }
    record->size = rounded(client, HEAD_BYTES + length);
    return ~crc == get32(head + 4);
}

/* Where records of a sector end. */
static uint32_t end_of(const struct quorate *client, uint32_t sector)
{
    return sector == client->newest ? client->end : client->config->storage.sector_bytes;
}

/* Goes on to where a record may begin. By chunks: a look at each unit of a large erased storage would take a start longer
 * than watchdogs wait. What cannot be read may be a record. */
static void skip_others(struct quorate *client, struct quorate_place *place, uint32_t end)
{
    uint8_t chunk[CHUNK_BYTES];
    uint32_t at = CHUNK_BYTES;

    while (at == CHUNK_BYTES && place->offset < end) {
        uint32_t part = end - place->offset < CHUNK_BYTES ? end - place->offset : CHUNK_BYTES;
        if (!load(client, address_of(client, *place), chunk, part)) {
            return;
        }
        for (at = 0; at < CHUNK_BYTES && (at >= part || least(chunk[at]) == 0);) {
            at += client->config->storage.program_bytes;
        }
        place->offset += at;
    }
}

/* Finds the first record of its sector at `place` or behind it. What is unreadable is passed over a unit at a time: a
 * power loss cuts one record, and those behind it are as good as ever. */
static bool find_record(struct quorate *client, struct quorate_place *place, struct record *record)
{
    uint32_t end = end_of(client, place->sector);

    while (place->offset < end) {
        if (read_record(client, *place, record)) {
            return true;
        }
        place->offset += client->config->storage.program_bytes;
        skip_others(client, place, end);
    }
    return false;
}

/* What is programmed, on its way through a buffer of whole units. */
struct stream {
    const struct quorate_storage *storage;
    uint32_t address;
    uint32_t filled;
    bool failed;
    /* Drivers program from words: a pointer to bytes alone may be odd, and a Cortex-M0 stops at that. */
    union {
        uint64_t word;
        uint8_t bytes[CHUNK_BYTES];
    } chunk;
};

static void stream_program(struct stream *stream, uint32_t length)
{
    const struct quorate_storage *storage = stream->storage;

    if (!stream->failed && storage->program(storage->context, stream->address, stream->chunk.bytes, length) != 0) {
        stream->failed = true;
    }
    stream->address += length;
    stream->filled = 0;
}

static void stream_bytes(struct stream *stream, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    size_t i;

    for (i = 0; i < length; i++) {
        stream->chunk.bytes[stream->filled++] = from[i];
        if (stream->filled == CHUNK_BYTES) {
            stream_program(stream, CHUNK_BYTES);
        }
    }
}

static bool has_room(const struct quorate *client, uint32_t size)
{
    uint32_t sector_bytes = client->config->storage.sector_bytes;
    return client->end <= sector_bytes && size <= sector_bytes - client->end;
}

/* Writes a record behind the last; the caller has made sure of the room. */
static bool append(struct quorate *client, uint8_t kind, const uint8_t *fixed, uint32_t fixed_bytes, const char *text,
                   uint32_t text_bytes)
{
    struct quorate_place place = {client->newest, client->end};
    uint32_t length = fixed_bytes + text_bytes;
    uint32_t size = rounded(client, HEAD_BYTES + length);
    uint8_t head[HEAD_BYTES];
    struct stream stream;
    struct record record;
    uint32_t crc;

    head[0] = kind;
    head[1] = (uint8_t)(kind ^ 0xffu);
    head[2] = (uint8_t)length;
    head[3] = (uint8_t)(length >> 8);
    crc = checksum(0xffffffffu, head, 4);
    crc = checksum(crc, fixed, fixed_bytes);
    crc = checksum(crc, (const uint8_t *)text, text_bytes);
    put32(head + 4, ~crc);
    /* Before anything is programmed: what fails half-way must not be programmed over. */
    client->end += size;
    stream.storage = &client->config->storage;
    stream.address = address_of(client, place);
    stream.filled = 0;
    stream.failed = false;
    stream_bytes(&stream, head, HEAD_BYTES);
    stream_bytes(&stream, fixed, fixed_bytes);
    stream_bytes(&stream, text, text_bytes);
    while (stream.filled % client->config->storage.program_bytes != 0) {
        stream_bytes(&stream, "", 1);
    }
    if (stream.filled > 0) {
        stream_program(&stream, stream.filled);
    }
    /* What is there whole is there, whatever the driver said: it would be sent, though its sender was told otherwise. And what
     * was programmed and cannot be read now is not written twice. */
    client->unreadable = false;
    return read_record(client, place, &record) || (client->unreadable && !stream.failed);
}

/* ---- what is done and what waits ------------------------------------------------------------------------------ */

static uint32_t kept_index(const struct quorate_handled *handled, uint64_t id)
{
    uint32_t i = 0;

    while (i < handled->kept_count && handled->kept[i] != id) {
        i++;
    }
    return i;
}

static bool is_waiting(const struct quorate_handled *handled, uint64_t id)
{
    return id > handled->done || kept_index(handled, id) < handled->kept_count;
}

/* Nothing more is to be done about the event. */
static void finish(struct quorate *client, uint64_t id)
{
    struct quorate_handled *handled = &client->handled;
    uint32_t i = kept_index(handled, id);

    if (i < handled->kept_count) {
        handled->kept[i] = handled->kept[--handled->kept_count];
    } else if (id > handled->done) {
        handled->done = id;
    }
    if (client->waiting > 0) {
        client->waiting--;
    }
    client->unsaved = true;
}

/* The event goes on waiting while those behind it may be done; false if too many do. */
static bool keep(struct quorate *client, uint64_t id)
{
    struct quorate_handled *handled = &client->handled;

    if (kept_index(handled, id) < handled->kept_count) {
        return true;
    }
    if (handled->kept_count == QUORATE_KEPT_MAX) {
        return false;
    }
    handled->kept[handled->kept_count++] = id;
    handled->done = id > handled->done ? id : handled->done;
    client->unsaved = true;
    return true;
}

/* Finds the first event at `place` or behind it that waits according to `handled`. */
static bool find_waiting(struct quorate *client, const struct quorate_handled *handled,
                         struct quorate_place *place, struct record *event)
{
    for (;;) {
        while (find_record(client, place, event)) {
            if (is_event(event) && is_waiting(handled, event->id)) {
                return true;
            }
            place->offset += event->size;
        }
        if (place->sector == client->newest) {
            return false;
        }
        place->sector = (place->sector + 1) % client->config->storage.sectors;
        place->offset = 0;
    }
}

static uint32_t state_size(const struct quorate *client)
{
    return rounded(client, HEAD_BYTES + STATE_BYTES + 8 * client->handled.kept_count);
}

/* Each sector keeps this much for the state that goes before the oldest sector is erased. */
static uint32_t reserve(const struct quorate *client)
{
    return rounded(client, HEAD_BYTES + STATE_BYTES_MAX);
}

static bool append_state(struct quorate *client, uint8_t kind)
{
    const struct quorate_handled *handled = &client->handled;
    const struct quorate_counts *counts = &client->counts;
    uint8_t bytes[STATE_BYTES_MAX];
    uint32_t i;

    put32(bytes, client->number);
    put32(bytes + 4, client->boot);
    put64(bytes + 8, handled->done);
    put32(bytes + 16, counts->delivered);
    put32(bytes + 20, counts->refused);
    put32(bytes + 24, counts->dropped);
    put32(bytes + 28, counts->unfit);
    put32(bytes + 32, counts->failed);
    for (i = 0; i < handled->kept_count; i++) {
        put64(bytes + STATE_BYTES + 8 * i, handled->kept[i]);
    }
    if (!append(client, kind, bytes, STATE_BYTES + 8 * handled->kept_count, "", 0)) {
        return false;
    }
    client->unsaved = false;
    return true;
}

/* Takes over a state that was read. */
static void load_state(struct quorate *client, const struct record *state, uint32_t *boot_max)
{
    struct quorate_handled *handled = &client->handled;
    struct quorate_counts *counts = &client->counts;
    uint8_t bytes[STATE_BYTES_MAX];
    uint32_t i;

    if (state->text_length > STATE_BYTES_MAX || !load(client, state->text, bytes, state->text_length)) {
        return;
    }
    *boot_max = get32(bytes + 4) > *boot_max ? get32(bytes + 4) : *boot_max;
    handled->done = get64(bytes + 8);
    counts->delivered = get32(bytes + 16);
    counts->refused = get32(bytes + 20);
    counts->dropped = get32(bytes + 24);
    counts->unfit = get32(bytes + 28);
    counts->failed = get32(bytes + 32);
    handled->kept_count = (state->text_length - STATE_BYTES) / 8;
    for (i = 0; i < handled->kept_count; i++) {
        handled->kept[i] = get64(bytes + STATE_BYTES + 8 * i);
    }
}

static bool has_waiting(struct quorate *client, uint32_t sector)
{
    struct quorate_place place = {sector, 0};
    struct record event;

    for (; find_record(client, &place, &event); place.offset += event.size) {
        if (is_event(&event) && is_waiting(&client->handled, event.id)) {
            return true;
        }
    }
    return false;
}

/* Counts what waits in the oldest sector as dropped. Events in the request under way may still be acknowledged; that
 * they are in no storage any more must not make them uncounted, or counted twice. */
static void drop_sector(struct quorate *client, uint32_t sector)
{
    struct quorate_place place = {sector, 0};
    struct record event;

    for (; find_record(client, &place, &event) && !client->unreadable; place.offset += event.size) {
        if (is_event(&event) && is_waiting(&client->handled, event.id)) {
            finish(client, event.id);
            client->counts.dropped++;
            if (client->flight_lost < client->flight) {
                client->flight_lost++;
                client->flight_sum -= event.id;
            }
        }
    }
}

/* Goes on to the next sector, the oldest. */
static enum quorate_result rotate(struct quorate *client, bool may_drop)
{
    const struct quorate_storage *storage = &client->config->storage;
    struct quorate_place next = {(client->newest + 1) % storage->sectors, 0};
    uint32_t newest = client->newest;
    bool waits;

    client->unreadable = false;
    waits = has_waiting(client, next.sector);
    if (client->unreadable) {
        return QUORATE_STORAGE;
    }
    if (waits) {
        if (!may_drop) {
            return QUORATE_FULL;
        }
        drop_sector(client, next.sector);
        if (client->unreadable) {
            return QUORATE_STORAGE;
        }
    }
    /* Before the sector goes, so that a power loss in between does not leave events that nobody counted. */
    if (client->unsaved && has_room(client, state_size(client))) {
        append_state(client, KIND_STATE);
    }
    if (client->head.sector == next.sector) {
        client->head.sector = (next.sector + 1) % storage->sectors;
        client->head.offset = 0;
    }
    client->newest = next.sector;
    client->number++;
    client->end = 0;
    if (storage->erase(storage->context, address_of(client, next)) == 0 && append_state(client, KIND_SECTOR)) {
        client->rotation_failures = 0;
        return QUORATE_OK;
    }
    client->end = storage->sector_bytes;
    /* The same sector again next time: one failure, of a flash that was busy, say, must not cost another sector. */
    if (++client->rotation_failures < ROTATION_FAILURES_MAX) {
        client->newest = newest;
    } else {
        client->rotation_failures = 0;
    }
    return QUORATE_STORAGE;
}

static enum quorate_result make_room(struct quorate *client, uint32_t size)
{
    if (has_room(client, size + reserve(client))) {
        return QUORATE_OK;
    }
    return rotate(client, client->config->when_full == QUORATE_DROP_OLDEST);
}

/* Makes durable what is done, unless events would have to be dropped for it: then some of them may be sent twice. */
static void save(struct quorate *client)
{
    if (!client->unsaved) {
        return;
    }
    if (has_room(client, state_size(client) + reserve(client))) {
        append_state(client, KIND_STATE);
    } else {
        rotate(client, false);
    }
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

static bool is_possible(const struct quorate_config *config)
{
    const struct quorate_storage *storage = &config->storage;
    uint32_t unit = storage->program_bytes;

    return storage->read != NULL && storage->program != NULL && storage->erase != NULL &&
           config->transport.send != NULL && config->transport.cancel != NULL && config->batch != NULL &&
           (config->boot & BOOT_MAX) != 0 && (config->common != NULL || config->common_bytes == 0) && unit != 0 && unit <= CHUNK_BYTES &&
           (unit & (unit - 1)) == 0 && storage->sector_bytes % unit == 0 &&
           storage->sector_bytes >= SECTOR_BYTES_MIN && storage->sector_bytes <= SECTOR_BYTES_MAX &&
           storage->sectors >= 2 && storage->sectors <= 0xffffffffu / storage->sector_bytes;
}

/* Longest text of an event for which there is always room: in a sector, and in a request. 0 if that is too little. */
static uint32_t text_bytes_max(const struct quorate *client)
{
    const struct quorate_config *config = client->config;
    uint32_t in_sector = config->storage.sector_bytes - 2 * reserve(client) - rounded(client, HEAD_BYTES +
                         DATED_EVENT_BYTES + config->storage.program_bytes);
    size_t taken = config->common_bytes + QUORATE_ENVELOPE_BYTES + QUORATE_EVENT_BYTES;
    size_t in_batch = config->batch_bytes > taken ? config->batch_bytes - taken : 0;
    uint32_t length = in_batch < in_sector ? (uint32_t)in_batch : in_sector;

    if (length > 0xffffu - DATED_EVENT_BYTES) {
        length = 0xffffu - DATED_EVENT_BYTES;
    }
    return length < TEXT_BYTES_MIN ? 0 : length;
}

static bool find_newest(struct quorate *client)
{
    struct quorate_place place = {0, 0};
    struct record record;
    uint8_t number[4];
    bool found = false;

    for (; place.sector < client->config->storage.sectors; place.sector++) {
        if (read_record(client, place, &record) && record.kind == KIND_SECTOR &&
            load(client, address_of(client, place) + HEAD_BYTES, number, 4) &&
            (!found || get32(number) > client->number)) {
            client->number = get32(number);
            client->newest = place.sector;
            found = true;
        }
    }
    return found;
}

/* Where the bytes between two places of a sector stop being erased; `from` if all are. */
static uint32_t written_until(struct quorate *client, uint32_t sector, uint32_t from, uint32_t to)
{
    uint8_t chunk[CHUNK_BYTES];
    uint32_t until = from;
    uint32_t at, i;

    for (at = from; at < to; at += CHUNK_BYTES) {
        struct quorate_place place = {sector, at};
        uint32_t part = to - at < CHUNK_BYTES ? to - at : CHUNK_BYTES;
        if (!load(client, address_of(client, place), chunk, part)) {
            return to;
        }
        for (i = 0; i < part; i++) {
            until = chunk[i] != 0xff ? at + i + 1 : until;
        }
    }
    return until;
}

/* Reads a sector as an earlier start left it; gives where its last record ends. */
static uint32_t recall_sector(struct quorate *client, uint32_t sector, uint32_t *boot_max)
{
    struct quorate_place place = {sector, 0};
    struct record record;
    uint32_t after = 0;

    while (find_record(client, &place, &record)) {
        if (after > 0 && written_until(client, sector, after, place.offset) > after) {
            client->counts.damaged++;
        }
        if (!is_event(&record)) {
            load_state(client, &record, boot_max);
        } else if ((uint32_t)(record.id >> 32) > *boot_max) {
            *boot_max = (uint32_t)(record.id >> 32);
        }
        place.offset += record.size;
        after = place.offset;
    }
    if (after > 0 && after < end_of(client, sector) &&
        written_until(client, sector, after, end_of(client, sector)) > after) {
        client->counts.damaged++;
    }
    return after;
}

/* Oldest sector first, so that the last state read is the one that counts. */
static uint32_t recall(struct quorate *client)
{
    uint32_t sectors = client->config->storage.sectors;
    uint32_t sector_bytes = client->config->storage.sector_bytes;
    uint32_t boot_max = 0;
    uint32_t damaged, after, i;

    client->end = sector_bytes;
    client->end = rounded(client, written_until(client, client->newest, 0, sector_bytes));
    for (i = 1; i < sectors; i++) {
        recall_sector(client, (client->newest + i) % sectors, &boot_max);
    }
    damaged = client->counts.damaged;
    after = recall_sector(client, client->newest, &boot_max);
    if (after >= client->end) {
        client->end = after;
    } else if (client->counts.damaged > damaged && client->end < sector_bytes) {
        /* The unit behind a cut record may be half programmed and still read as erased. */
        client->end += client->config->storage.program_bytes;
    }
    return boot_max;
}

static void count_waiting(struct quorate *client)
{
    struct quorate_place place = client->head;
    struct record event;

    for (; find_waiting(client, &client->handled, &place, &event); place.offset += event.size) {
        if (client->waiting++ == 0) {
            client->head = place;
        }
    }
}

static uint32_t random_below(struct quorate *client, uint32_t bound)
{
    uint32_t x = client->random;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    client->random = x;
    return bound == 0 ? 0 : x % bound;
}

static void linger(struct quorate *client)
{
    client->due = client->now + at_least(client->config->linger_ms, 30000);
}

enum quorate_result quorate_init(struct quorate *client, const struct quorate_config *config, uint32_t now_ms)
{
    uint32_t boot_max = 0;

    if (!is_possible(config)) {
        return QUORATE_CONFIG;
    }
    memset(client, 0, sizeof *client);
    client->config = config;
    client->clock_last = now_ms;
    client->text_bytes_max = text_bytes_max(client);
    if (client->text_bytes_max == 0) {
        return QUORATE_CONFIG;
    }
    client->batch_limit = QUORATE_BATCH_EVENTS_MAX;
    client->newest = config->storage.sectors - 1;
    client->end = config->storage.sector_bytes;
    if (find_newest(client)) {
        boot_max = recall(client);
        client->head.sector = (client->newest + 1) % config->storage.sectors;
        count_waiting(client);
    }
    client->boot = boot_max == 0 ? config->boot & BOOT_MAX : boot_max + 1;
    /* Devices must not all come at the same moment after a power cut, so each draws from what tells it apart. */
    client->random = checksum(client->boot, (const uint8_t *)config->common, config->common_bytes) | 1u;
    client->due = random_below(client, at_least(config->linger_ms, 30000));
    return client->unreadable ? QUORATE_STORAGE : QUORATE_OK;
}

/* ---- recording ------------------------------------------------------------------------------------------------ */

static void advance(struct quorate *client, uint32_t now_ms)
{
    if (client->clock_last - now_ms > BACKWARD_MS_MAX) {
        client->now += now_ms - client->clock_last;
        client->clock_last = now_ms;
    }
}

static uint64_t calendar(const struct quorate *client)
{
    const struct quorate_config *config = client->config;
    return config->calendar_ms == NULL ? 0 : config->calendar_ms(config->calendar_context);
}

static bool append_event(struct quorate *client, const struct quorate_writer *event, uint64_t dated)
{
    uint8_t fixed[DATED_EVENT_BYTES];

    put32(fixed, client->boot);
    put32(fixed + 4, client->seq);
    put64(fixed + 8, client->now);
    put64(fixed + 16, dated);
    return append(client, dated == 0 ? KIND_EVENT : KIND_DATED_EVENT, fixed,
                  dated == 0 ? EVENT_BYTES : DATED_EVENT_BYTES, event->text, (uint32_t)event->length);
}

enum quorate_result quorate_record(struct quorate *client, const struct quorate_writer *event, uint32_t now_ms)
{
    uint64_t dated = calendar(client);
    uint32_t fixed_bytes = dated == 0 ? EVENT_BYTES : DATED_EVENT_BYTES;
    enum quorate_result result;

    advance(client, now_ms);
    /* Also for an event that is not taken: the gap in the numbers shows it. */
    client->seq++;
    if (event->unfit || event->length == 0 || event->length > client->text_bytes_max) {
        client->counts.unfit++;
        client->unsaved = true;
        return QUORATE_UNFIT;
    }
    result = make_room(client, rounded(client, HEAD_BYTES + fixed_bytes + (uint32_t)event->length));
    if (result == QUORATE_FULL) {
        client->counts.dropped++;
        client->unsaved = true;
        return result;
    }
    if (result != QUORATE_OK || !append_event(client, event, dated)) {
        client->counts.failed++;
        client->unsaved = true;
        return QUORATE_STORAGE;
    }
    if (client->waiting++ == 0) {
        linger(client);
    }
    return QUORATE_OK;
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static void put_envelope(const struct quorate *client, struct quorate_writer *body, uint64_t sent)
{
    put_string(body, "{\"common\":{");
    put(body, client->config->common, client->config->common_bytes);
    put_string(body, "},\"boot\":");
    put_number(body, client->boot);
    put_string(body, ",\"sent_uptime_ms\":");
    put_number(body, client->now);
    if (sent != 0) {
        put_string(body, ",\"sent\":");
        put_number(body, sent);
    }
    put_string(body, ",\"events\":[");
}

/* An event of this start is dated by its uptime, which nobody can set; one of an earlier start by the calendar, if that
 * was known then and is now. A time without the time of sending is never sent: the service would look for copies of the
 * event under that day, and not where an attempt without it has put the first. */
static void put_event(struct quorate *client, struct quorate_writer *body, const struct record *event, bool has_sent)
{
    uint32_t boot = (uint32_t)(event->id >> 32);

    put_string(body, "{");
    if (boot != client->boot) {
        put_string(body, "\"boot\":");
        put_number(body, boot);
        put_string(body, ",");
    }
    put_string(body, "\"seq\":");
    put_number(body, (uint32_t)event->id);
    if (boot == client->boot) {
        put_string(body, ",\"uptime_ms\":");
        put_number(body, event->uptime);
    } else if (event->calendar != 0 && has_sent) {
        put_string(body, ",\"time\":");
        put_number(body, event->calendar);
    }
    put_string(body, ",");
    if (event->text_length > body->room - body->length ||
        !load(client, event->text, body->text + body->length, event->text_length)) {
        body->unfit = true;
        return;
    }
    body->length += event->text_length;
    put_string(body, "}");
}

/* Fills the batch; gives how many events are in it. */
static uint8_t put_events(struct quorate *client, struct quorate_writer *body, bool has_sent)
{
    uint32_t most = at_least(client->config->batch_events, QUORATE_BATCH_EVENTS_MAX);
    struct quorate_place place = client->head;
    struct record event;
    uint8_t events = 0;

    most = most < client->batch_limit ? most : client->batch_limit;
    for (; events < most && find_waiting(client, &client->handled, &place, &event); place.offset += event.size) {
        size_t before = body->length;
        if (events == 0) {
            client->head = place;
        } else {
            put_string(body, ",");
        }
        put_event(client, body, &event, has_sent);
        if (!body->unfit) {
            client->flight_sum += event.id;
            events++;
            continue;
        }
        body->unfit = false;
        body->length = before;
        if (events > 0 || client->unreadable) {
            break;
        }
        /* Left by a build with a larger batch: it will never fit. */
        finish(client, event.id);
        client->counts.unfit++;
    }
    return events;
}

static void back_off(struct quorate *client);

static void begin(struct quorate *client)
{
    const struct quorate_config *config = client->config;
    struct quorate_place head = client->head;
    uint64_t sent = calendar(client);
    struct quorate_writer body;
    uint8_t events;

    client->unreadable = false;
    client->flight_sum = 0;
    quorate_write_begin(&body, config->batch, config->batch_bytes - 2);
    put_envelope(client, &body, sent);
    events = put_events(client, &body, sent != 0);
    if (client->unreadable) {
        client->head = head;
        back_off(client);
        return;
    }
    if (events == 0) {
        client->waiting = 0;
        return;
    }
    body.room += 2;
    put_string(&body, "]}");
    client->flight = events;
    client->flight_lost = 0;
    client->more = client->waiting > events;
    client->status = 0;
    client->retry_after_s = 0;
    client->started = client->now;
    /* It may have answered already. */
    if (!config->transport.send(config->transport.context, client, body.text, body.length) && client->flight > 0) {
        back_off(client);
    }
}

static uint32_t time_until(const struct quorate *client, uint64_t moment)
{
    uint64_t left = moment > client->now ? moment - client->now : 0;
    return left > REST_MS_MAX ? REST_MS_MAX : (uint32_t)left;
}

uint32_t quorate_step(struct quorate *client, uint32_t now_ms)
{
    const struct quorate_transport *transport = &client->config->transport;
    uint32_t most = at_least(client->config->batch_events, QUORATE_BATCH_EVENTS_MAX);
    bool is_due;

    advance(client, now_ms);
    if (client->flight > 0 && transport->poll != NULL) {
        transport->poll(transport->context, client);
    }
    if (client->flight > 0 && client->now - client->started >= at_least(client->config->answer_ms, 30000)) {
        transport->cancel(transport->context, client);
        if (client->flight > 0) {
            back_off(client);
        }
    }
    is_due = client->now >= client->due || client->waiting >= most;
    if (client->flight == 0 && client->waiting > 0 && is_due && client->now >= client->not_before) {
        begin(client);
    }
    if (client->flight > 0) {
        return 0;
    }
    if (client->waiting == 0) {
        return REST_MS_MAX;
    }
    /* Where there is enough for a request, only a back-off is waited for. */
    return time_until(client, client->waiting >= most || client->not_before > client->due ? client->not_before
                                                                                          : client->due);
}

void quorate_flush(struct quorate *client)
{
    client->due = 0;
}

void quorate_try_again(struct quorate *client)
{
    client->due = 0;
    client->not_before = 0;
    client->attempts = 0;
}

struct quorate_counts quorate_counts(const struct quorate *client)
{
    return client->counts;
}

uint32_t quorate_waiting(const struct quorate *client)
{
    return client->waiting;
}

unsigned quorate_status(const struct quorate *client)
{
    return client->status;
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

enum { NAME_NONE, NAME_ACCEPTED, NAME_REFUSED, NAME_REFUSED_TOTAL, NAME_ERROR, NAME_INDEX, NAME_RETRY };
enum { LEXEME_NONE, LEXEME_TEXT, LEXEME_ESCAPE, LEXEME_BARE };
enum { SEEN_ACCEPTED = 1, SEEN_REFUSED = 2, SEEN_TOTAL = 4, SEEN_MALFORMED = 8, SEEN_END = 16 };

#define NO_NUMBER 0xffffffffu
#define DEPTH_MAX 31u

static bool parser_is(const struct quorate_parser *parser, const char *word)
{
    size_t length = strlen(word);
    return parser->word_length == length && memcmp(parser->word, word, length) == 0;
}

static uint8_t parser_name(const struct quorate_parser *parser)
{
    static const char *const names[] = {"accepted", "refused", "refused_total", "error", "index", "retry"};
    uint8_t i;

    for (i = 0; i < 6; i++) {
        if (parser_is(parser, names[i])) {
            return (uint8_t)(i + 1);
        }
    }
    return NAME_NONE;
}

/* Words are cut at 16 bytes: no word that matters is as long. */
static void parser_push(struct quorate_parser *parser, char byte)
{
    if (parser->word_length < sizeof parser->word) {
        parser->word[parser->word_length++] = byte;
    }
}

static uint32_t parser_number(const struct quorate_parser *parser)
{
    uint32_t number = 0;
    uint8_t i;

    if (parser->word_length > 9) {
        return NO_NUMBER;
    }
    for (i = 0; i < parser->word_length; i++) {
        if (parser->word[i] < '0' || parser->word[i] > '9') {
            return NO_NUMBER;
        }
        number = 10 * number + (uint32_t)(parser->word[i] - '0');
    }
    return number;
}

/* In an object of the list `refused`. */
static bool parser_in_refusal(const struct quorate_parser *parser)
{
    return parser->depth == 3 && parser->name == NAME_REFUSED && (parser->kinds & 7u) == 5u;
}

static void parser_text(struct quorate_parser *parser)
{
    if (parser->expects_name) {
        if (parser->depth == 1) {
            parser->name = parser_name(parser);
        } else if (parser_in_refusal(parser)) {
            parser->item_name = parser_name(parser);
        }
    } else if (parser->depth == 1 && parser->name == NAME_ERROR && parser_is(parser, "malformed")) {
        parser->seen |= SEEN_MALFORMED;
    }
}

static void parser_bare(struct quorate_parser *parser)
{
    if (parser->depth == 1 && parser->name == NAME_ACCEPTED) {
        parser->accepted = parser_number(parser);
        parser->seen |= SEEN_ACCEPTED;
    } else if (parser->depth == 1 && parser->name == NAME_REFUSED_TOTAL) {
        parser->refused_total = parser_number(parser);
        parser->seen |= SEEN_TOTAL;
    } else if (parser_in_refusal(parser) && parser->item_name == NAME_INDEX) {
        parser->index = parser_number(parser);
    } else if (parser_in_refusal(parser) && parser->item_name == NAME_RETRY) {
        parser->retry = parser_is(parser, "true");
    }
}

static void parser_open(struct quorate_parser *parser, bool is_object)
{
    if (parser->depth == DEPTH_MAX || (parser->seen & SEEN_END) != 0 || (parser->depth == 0 && !is_object)) {
        parser->bad = true;
        return;
    }
    /* The bit of depth 1 is bit 0, so that the three outermost brackets are `kinds & 7`. */
    if (is_object) {
        parser->kinds |= 1u << parser->depth;
    } else {
        parser->kinds &= ~(1u << parser->depth);
    }
    parser->depth++;
    parser->expects_name = is_object;
    parser->item_name = parser->depth == 3 ? NAME_NONE : parser->item_name;
    if (parser_in_refusal(parser)) {
        parser->index = NO_NUMBER;
        parser->retry = false;
    } else if (parser->depth == 2 && parser->name == NAME_REFUSED && !is_object) {
        parser->seen |= SEEN_REFUSED;
    }
}

static void parser_refusal(struct quorate_parser *parser)
{
    uint32_t bit = parser->index < QUORATE_BATCH_EVENTS_MAX ? 1u << parser->index : 0;

    if (bit == 0 || ((parser->drop | parser->keep) & bit) != 0) {
        parser->bad = true;
    } else if (parser->retry) {
        parser->keep |= bit;
    } else {
        parser->drop |= bit;
    }
}

static void parser_close(struct quorate_parser *parser, bool is_object)
{
    uint32_t bit = parser->depth == 0 ? 0 : 1u << (parser->depth - 1u);

    if (parser->depth == 0 || ((parser->kinds & bit) != 0) != is_object) {
        parser->bad = true;
        return;
    }
    if (parser_in_refusal(parser)) {
        parser_refusal(parser);
    }
    parser->depth--;
    parser->expects_name = false;
    if (parser->depth == 0) {
        parser->seen |= SEEN_END;
    }
}

static bool is_bare(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '-' || byte == '+' || byte == '.';
}

static void parser_structure(struct quorate_parser *parser, char byte)
{
    bool in_object = parser->depth > 0 && (parser->kinds & 1u << (parser->depth - 1u)) != 0;

    switch (byte) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        return;
    case '{':
    case '[':
        parser_open(parser, byte == '{');
        return;
    case '}':
    case ']':
        parser_close(parser, byte == '}');
        return;
    case ',':
        parser->expects_name = in_object;
        parser->bad = parser->bad || parser->depth == 0;
        return;
    case ':':
        parser->bad = parser->bad || !parser->expects_name;
        parser->expects_name = false;
        return;
    default:
        parser->bad = parser->bad || parser->depth == 0 || (byte != '"' && !is_bare(byte));
        parser->word_length = 0;
        parser->lexeme = byte == '"' ? LEXEME_TEXT : LEXEME_BARE;
        if (byte != '"') {
            parser_push(parser, byte);
        }
    }
}

static void parser_take(struct quorate_parser *parser, char byte)
{
    switch (parser->lexeme) {
    case LEXEME_ESCAPE:
        /* No word that matters has an escape in it. */
        parser_push(parser, '\0');
        parser->lexeme = LEXEME_TEXT;
        return;
    case LEXEME_TEXT:
        if (byte == '\\') {
            parser->lexeme = LEXEME_ESCAPE;
        } else if (byte == '"') {
            parser->lexeme = LEXEME_NONE;
            parser_text(parser);
        } else {
            parser_push(parser, byte);
        }
        return;
    case LEXEME_BARE:
        if (is_bare(byte)) {
            parser_push(parser, byte);
            return;
        }
        parser->lexeme = LEXEME_NONE;
        parser_bare(parser);
        break;
    default:
        break;
    }
    parser_structure(parser, byte);
}

static uint32_t bits(uint32_t word)
{
    uint32_t count = 0;

    for (; word != 0; word &= word - 1) {
        count++;
    }
    return count;
}

/* Whether the answer is a receipt for exactly the events that were sent. What is not, a page of a captive portal, say,
 * acknowledges nothing, whatever its status. */
static bool is_receipt(const struct quorate *client)
{
    const struct quorate_parser *parser = &client->parser;
    const uint8_t needed = SEEN_ACCEPTED | SEEN_REFUSED | SEEN_TOTAL | SEEN_END;
    uint32_t refused = parser->drop | parser->keep;
    uint32_t sent = client->flight == 32 ? 0xffffffffu : (1u << client->flight) - 1u;

    return !parser->bad && (parser->seen & needed) == needed && (refused & ~sent) == 0 &&
           bits(refused) == parser->refused_total && parser->accepted == client->flight - parser->refused_total;
}

static void land(struct quorate *client)
{
    client->flight = 0;
    client->flight_lost = 0;
}

/* Sends again later: exponential, half of it random, so that a fleet that failed together does not return together. */
static void back_off(struct quorate *client)
{
    uint32_t most = at_least(client->config->retry_ms_max, 900000);
    uint32_t wait = at_least(client->config->retry_ms, 2000);
    uint8_t doubled;

    for (doubled = 0; doubled < client->attempts && wait < most / 2; doubled++) {
        wait *= 2;
    }
    wait = client->attempts > doubled || wait > most ? most : wait;
    client->attempts = client->attempts < 255 ? (uint8_t)(client->attempts + 1) : client->attempts;
    client->not_before = client->now + wait / 2 + random_below(client, wait / 2 + 1);
    land(client);
}

/* Not before `wait_ms`, and up to a quarter and a second later. */
static void wait_for(struct quorate *client, uint32_t wait_ms)
{
    client->not_before = client->now + wait_ms + random_below(client, wait_ms / 4 + 1000);
    land(client);
}

static void try_later(struct quorate *client)
{
    uint32_t seconds = client->retry_after_s < RETRY_AFTER_S_MAX ? client->retry_after_s : RETRY_AFTER_S_MAX;

    if (seconds > 0) {
        wait_for(client, 1000 * seconds);
    } else {
        back_off(client);
    }
}

/* Nothing that a device can do helps: a person has to. */
static void wait_long(struct quorate *client)
{
    uint32_t wait = at_least(client->config->denied_ms, 3600000);
    uint32_t seconds = client->retry_after_s < RETRY_AFTER_S_MAX ? client->retry_after_s : RETRY_AFTER_S_MAX;

    wait_for(client, wait > 1000 * seconds ? wait : 1000 * seconds);
}

/* Events of the request that were dropped while it was under way are counted as what became of them after all. */
static uint32_t settle_lost(struct quorate *client, uint32_t drop, uint32_t kept)
{
    uint32_t index;

    for (index = 0; index < client->flight_lost; index++) {
        if ((kept >> index & 1u) == 0) {
            client->counts.dropped--;
            if ((drop >> index & 1u) != 0) {
                client->counts.refused++;
            } else {
                client->counts.delivered++;
            }
            client->unsaved = true;
        }
    }
    return index;
}

/* Whether the events of the request are found again, so that each gets the answer that is its own. */
static bool is_found(struct quorate *client)
{
    struct quorate_place place = client->head;
    uint8_t left = (uint8_t)(client->flight - client->flight_lost);
    uint64_t sum = client->flight_sum;
    struct record event;

    client->unreadable = false;
    for (; left > 0 && find_waiting(client, &client->handled, &place, &event); left--) {
        sum -= event.id;
        place.offset += event.size;
    }
    return left == 0 && sum == 0 && !client->unreadable;
}

/* The service has said what became of each event: bits of `drop` and `kept` were refused, all others are stored. False
 * if they are to be sent again. */
static bool settle(struct quorate *client, uint32_t drop, uint32_t kept)
{
    /* As it was when the batch was made, so that events are found in the order in which they were sent. */
    struct quorate_handled before = client->handled;
    struct quorate_place place = client->head;
    struct record event;
    uint32_t index;

    if (!is_found(client)) {
        back_off(client);
        return false;
    }
    index = settle_lost(client, drop, kept);
    while (index < client->flight && find_waiting(client, &before, &place, &event) && !client->unreadable) {
        if ((kept >> index & 1u) != 0) {
            if (!keep(client, event.id)) {
                break;
            }
        } else {
            finish(client, event.id);
            if ((drop >> index & 1u) != 0) {
                client->counts.refused++;
            } else {
                client->counts.delivered++;
            }
        }
        place.offset += event.size;
        index++;
    }
    place = client->head;
    find_waiting(client, &client->handled, &place, &event);
    client->head = client->unreadable ? client->head : place;
    save(client);
    return true;
}

static void conclude_receipt(struct quorate *client)
{
    const struct quorate_parser *parser = &client->parser;
    bool all_kept = bits(parser->keep) == client->flight;

    if (!settle(client, parser->drop, parser->keep)) {
        return;
    }
    client->batch_limit = (uint8_t)(client->batch_limit < QUORATE_BATCH_EVENTS_MAX / 2 ? 2 * client->batch_limit
                                                                                       : QUORATE_BATCH_EVENTS_MAX);
    client->attempts = all_kept ? client->attempts : 0;
    if (parser->keep != 0) {
        try_later(client);
        return;
    }
    /* What came while the request was under way waits for company too, unless everything is to go out now. What did not
     * fit has waited. */
    if (client->due != 0 && !client->more) {
        linger(client);
    }
    client->not_before = client->now;
    land(client);
}

/* Too much, or something in it is at fault: half as many next time, until it is a single event that cannot be taken. */
static void conclude_by_halves(struct quorate *client)
{
    if (client->flight > 1) {
        client->batch_limit = client->flight / 2;
        wait_for(client, 0);
        return;
    }
    if (settle(client, 1, 0)) {
        wait_for(client, 0);
    }
}

static void conclude(struct quorate *client)
{
    unsigned status = client->status;

    if (status == 408 || status == 429 || status >= 500 || status < 200) {
        try_later(client);
    } else if (status == 413 || (status == 400 && (client->parser.seen & (SEEN_MALFORMED | SEEN_END)) ==
                                                      (SEEN_MALFORMED | SEEN_END))) {
        conclude_by_halves(client);
    } else if ((status < 300 || status == 400) && is_receipt(client)) {
        conclude_receipt(client);
    } else {
        wait_long(client);
    }
}

void quorate_answer_begin(struct quorate *client, unsigned status, uint32_t retry_after_s)
{
    if (client->flight > 0) {
        memset(&client->parser, 0, sizeof client->parser);
        client->status = (uint16_t)(status < 1000 ? status : 0);
        client->retry_after_s = retry_after_s;
    }
}

void quorate_answer_body(struct quorate *client, const char *bytes, size_t length)
{
    size_t i;

    for (i = 0; client->flight > 0 && i < length; i++) {
        parser_take(&client->parser, bytes[i]);
    }
}

void quorate_answer_end(struct quorate *client, bool whole)
{
    bool needs_body = client->status < 300 || client->status == 400;

    if (client->flight == 0) {
        return;
    }
    /* A service that does not read the rest of a request may cut its answer; the head says enough where nothing is
     * acknowledged. */
    if (whole || !needs_body) {
        conclude(client);
    } else {
        back_off(client);
    }
}

/* ---- HTTP ----------------------------------------------------------------------------------------------------- */

enum { HTTP_STATUS, HTTP_HEADER, HTTP_BODY, HTTP_CHUNK, HTTP_CHUNK_BODY, HTTP_CHUNK_END, HTTP_TRAILER, HTTP_BROKEN };

size_t quorate_http_head(char *memory, size_t bytes, const char *host, const char *key, size_t body_bytes)
{
    struct quorate_writer head;

    quorate_write_begin(&head, memory, bytes);
    put_string(&head, "POST /v1/events HTTP/1.1\r\nHost: ");
    put_string(&head, host);
    put_string(&head, "\r\nAuthorization: Bearer ");
    put_string(&head, key);
    put_string(&head, "\r\nContent-Type: application/json\r\nContent-Length: ");
    put_number(&head, body_bytes);
    put_string(&head, "\r\n\r\n");
    return head.unfit ? 0 : head.length;
}

void quorate_http_begin(struct quorate_http *http)
{
    memset(http, 0, sizeof *http);
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The digits at `text`, to the end of the line; false if there are none or too many. */
static bool decimal(const char *text, const char *end, uint32_t *number)
{
    const char *at = text;

    for (*number = 0; at < end && *at >= '0' && *at <= '9' && *number < 100000000u; at++) {
        *number = 10 * *number + (uint32_t)(*at - '0');
    }
    return at > text && at == end;
}

static bool hexadecimal(const char *text, const char *end, uint32_t *number)
{
    const char *at = text;

    for (*number = 0; at < end && *number < 0x8000000u; at++) {
        if (*at >= '0' && *at <= '9') {
            *number = 16 * *number + (uint32_t)(*at - '0');
        } else if (*at >= 'a' && *at <= 'f') {
            *number = 16 * *number + (uint32_t)(*at - 'a' + 10);
        } else {
            break;
        }
    }
    /* A chunk may have extensions. */
    return at > text && (at == end || *at == ';' || *at == ' ');
}

/* The value of the header in the line, or NULL if it is another. */
static const char *header(const struct quorate_http *http, const char *name)
{
    size_t length = strlen(name);
    const char *value = http->line + length;

    if (http->line_length <= length || memcmp(http->line, name, length) != 0 || *value != ':') {
        return NULL;
    }
    do {
        value++;
    } while (value < http->line + http->line_length && is_space(*value));
    return value;
}

static bool http_is(const struct quorate_http *http, const char *value, const char *word)
{
    size_t length = (size_t)(http->line + http->line_length - value);
    return length == strlen(word) && memcmp(value, word, length) == 0;
}

static void http_status(struct quorate_http *http)
{
    const char *line = http->line;
    uint32_t status = 0;

    http->state = HTTP_BROKEN;
    if (http->line_length >= 12 && memcmp(line, "http/1.", 7) == 0 && line[8] == ' ' &&
        decimal(line + 9, line + 12, &status) && status >= 100) {
        http->status = (uint16_t)status;
        http->closes = line[7] == '0';
        http->state = HTTP_HEADER;
    }
}

static void http_header(struct quorate_http *http)
{
    const char *end = http->line + http->line_length;
    const char *value;
    uint32_t number;

    if ((value = header(http, "content-length")) != NULL) {
        /* Two lengths, or one that is none, and nobody knows where the answer ends. */
        if (!decimal(value, end, &number) || (http->has_length && http->left != number)) {
            http->state = HTTP_BROKEN;
            return;
        }
        http->left = number;
        http->has_length = true;
    } else if ((value = header(http, "transfer-encoding")) != NULL) {
        http->is_chunked = http_is(http, value, "chunked");
        http->state = http->is_chunked ? http->state : HTTP_BROKEN;
    } else if ((value = header(http, "connection")) != NULL) {
        http->closes = http->closes || http_is(http, value, "close");
    } else if ((value = header(http, "retry-after")) != NULL && decimal(value, end, &number)) {
        http->retry_after_s = number;
    }
}

static void http_end(struct quorate_http *http, struct quorate *client, bool whole)
{
    http->over = true;
    http->closes = http->closes || !whole;
    quorate_answer_end(client, whole);
}

static void http_head_end(struct quorate_http *http, struct quorate *client)
{
    if (http->status < 200) {
        /* An interim answer; the real one follows. */
        quorate_http_begin(http);
        return;
    }
    quorate_answer_begin(client, http->status, http->retry_after_s);
    if (http->is_chunked) {
        http->state = HTTP_CHUNK;
    } else if (http->status == 204 || http->status == 304 || (http->has_length && http->left == 0)) {
        http_end(http, client, true);
    } else {
        http->closes = http->closes || !http->has_length;
        http->state = HTTP_BODY;
    }
}

static void http_line(struct quorate_http *http, struct quorate *client)
{
    bool is_empty;

    while (http->line_length > 0 && is_space(http->line[http->line_length - 1])) {
        http->line_length--;
    }
    is_empty = http->line_length == 0;
    switch (http->state) {
    case HTTP_STATUS:
        http_status(http);
        break;
    case HTTP_HEADER:
        if (is_empty) {
            http_head_end(http, client);
        } else {
            http_header(http);
        }
        break;
    case HTTP_CHUNK:
        if (!hexadecimal(http->line, http->line + http->line_length, &http->left)) {
            http->state = HTTP_BROKEN;
        } else {
            http->state = http->left == 0 ? HTTP_TRAILER : HTTP_CHUNK_BODY;
        }
        break;
    case HTTP_CHUNK_END:
        http->state = is_empty ? HTTP_CHUNK : HTTP_BROKEN;
        break;
    default:
        if (is_empty) {
            http_end(http, client, true);
        }
        break;
    }
    http->line_length = 0;
}

static void http_byte(struct quorate_http *http, struct quorate *client, char byte)
{
    if (byte == '\n') {
        http_line(http, client);
    } else if (http->line_length < sizeof http->line) {
        /* What is longer is no header that matters; its rest is not needed. */
        http->line[http->line_length++] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
    if (http->state == HTTP_BROKEN && !http->over) {
        http_end(http, client, false);
    }
}

/* Hands on as much of a body as there is; gives its length. */
static size_t http_body(struct quorate_http *http, struct quorate *client, const char *bytes, size_t length)
{
    bool is_bounded = http->is_chunked || http->has_length;
    size_t part = is_bounded && http->left < length ? http->left : length;

    quorate_answer_body(client, bytes, part);
    if (is_bounded) {
        http->left -= (uint32_t)part;
        if (http->left == 0 && http->is_chunked) {
            http->state = HTTP_CHUNK_END;
        } else if (http->left == 0) {
            http_end(http, client, true);
        }
    }
    return part;
}

bool quorate_http_take(struct quorate_http *http, struct quorate *client, const char *bytes, size_t length)
{
    size_t at = 0;

    while (!http->over && at < length) {
        if (http->state == HTTP_BODY || http->state == HTTP_CHUNK_BODY) {
            at += http_body(http, client, bytes + at, length - at);
        } else {
            http_byte(http, client, bytes[at++]);
        }
    }
    return http->over;
}

void quorate_http_closed(struct quorate_http *http, struct quorate *client)
{
    if (!http->over) {
        /* Without a length the end of the connection is the end of the answer. */
        http_end(http, client, http->state == HTTP_BODY && !http->has_length);
    }
}
