/* Event types of the policy package `default`: the families that a device can send.
 *
 * Written by hand in the form that `quorate policy export c-header` is to write, so that both can be compared.
 *
 * How a declaration becomes C:
 *
 *   family told by a field  struct NAME, NAME_write, NAME_record, NAME_BYTES; families told by the visit are left out,
 *                           for a device has none and the service could not tell their copies
 *   contributor's field     in struct device_common, sent once in each request and kept in no storage
 *   from = "…"              left out: the service makes it of the connection or of another field
 *   string, version, url    const char *, NULL is absent; its length is checked here, its pattern by the service
 *   enum                    enum NAME_FIELD, 0 is absent; with `otherwise` the last word stands for all others
 *   integer                 the smallest of int32_t, uint32_t, int64_t that holds the range; checked here
 *   float                   double; checked here, sent to six decimal places
 *   boolean                 bool
 *   ms, s                   as integer, its unit behind the name; checked here
 *   timestamp               int64_t, milliseconds since 1970, `_ms` behind the name
 *   numbers and booleans    beside `bool has_FIELD`, so that a struct of zeros is an event without fields; a field that
 *                           is `required` has no `has_`, and a required text that is NULL makes the event unfit
 *
 * NAME_BYTES is the longest text of an event whose strings match their patterns; strings without a pattern are taken
 * at six bytes for each, as if all were escaped. An event that does not fit is counted as unfit and not sent.
 */
#ifndef POLICY_DEFAULT_H
#define POLICY_DEFAULT_H

#include "quorate.h"

/* What a device says once in each request. */
struct device_common {
    const char *serial_number; /* serial number of the device or installation; at most 64 bytes */
};

#define DEVICE_COMMON_BYTES 402

static inline void device_common_write(const struct device_common *common, struct quorate_writer *writer)
{
    quorate_write_text(writer, "serial_number", common->serial_number, 64);
    writer->unfit = writer->unfit || common->serial_number == NULL;
}

/* One record of use of a device or of an installed program. */
struct device_usage {
    const char *product;  /* which product was used; [a-z][a-z0-9_-]{0,23} */
    const char *version;  /* firmware or software version; 3.8.1 */
    const char *feature;  /* program or function that ran; [a-z][a-z0-9_-]{0,23} */
    bool has_duration;
    uint32_t duration_ms; /* time from start to end; 0 to 3600000 */
    const char *error;    /* error code, if it failed; [A-Z]{1,2}[0-9]{1,5} */
};

#define DEVICE_USAGE_BYTES 250

static inline void device_usage_write(const struct device_usage *event, struct quorate_writer *writer)
{
    quorate_write_text(writer, "type", "device_usage", 12);
    quorate_write_text(writer, "product", event->product, 24);
    quorate_write_text(writer, "version", event->version, 103);
    quorate_write_text(writer, "feature", event->feature, 24);
    if (event->has_duration) {
        quorate_write_integer(writer, "duration", event->duration_ms, 0, 3600000);
    }
    quorate_write_text(writer, "error", event->error, 8);
}

/* Takes one event; see `quorate_record`. */
static inline enum quorate_result device_usage_record(struct quorate *client, const struct device_usage *event,
                                                      uint32_t now_ms)
{
    char text[DEVICE_USAGE_BYTES];
    struct quorate_writer writer;

    quorate_write_begin(&writer, text, sizeof text);
    device_usage_write(event, &writer);
    return quorate_record(client, &writer, now_ms);
}

#endif
