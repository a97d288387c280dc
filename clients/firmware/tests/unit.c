/* SPDX-License-Identifier: Apache-2.0
 *
 * What each part does, by itself: writing, requests, every row of the table of answers, waits, storage, HTTP.
 */
#include "check.h"
#include "device_usage.h"
#include "flash.h"
#include "service.h"

#include <string.h>

enum { HOUR = 3600000, BATCH_BYTES = 4096 };

char check_context[128] = "";

static struct flash flash;
static struct service service;
static struct quorate client;
static struct quorate_config config;
static char batch[BATCH_BYTES];
static uint32_t now;
static uint64_t calendar;

static uint64_t calendar_ms(void *context)
{
    (void)context;
    return calendar;
}

/* A client on new flash with a service that is well. */
static void fresh(void)
{
    static const char common[] = "\"serial_number\":\"X1-000417\"";

    flash_begin(&flash, 4096, 8, 1, true);
    memset(&service, 0, sizeof service);
    memset(&config, 0, sizeof config);
    config.storage = flash_storage(&flash, 8);
    config.transport = service_transport(&service);
    config.common = common;
    config.common_bytes = sizeof common - 1;
    config.batch = batch;
    config.batch_bytes = sizeof batch;
    config.boot = 1;
    now = 1000;
    calendar = 0;
    CHECK_EQUAL(quorate_init(&client, &config, now), QUORATE_OK);
}

static void restart(void)
{
    CHECK_EQUAL(quorate_init(&client, &config, now), QUORATE_OK);
}

static enum quorate_result record(uint32_t duration)
{
    struct device_usage event = {.product = "x1", .version = "3.8.1", .has_duration = true, .duration_ms = duration};
    return device_usage_record(&client, &event, now);
}

static void record_many(uint32_t from, uint32_t to)
{
    for (; from <= to; from++) {
        CHECK_EQUAL(record(from), QUORATE_OK);
    }
}

static void pass(uint32_t ms)
{
    now += ms;
    calendar += calendar == 0 ? 0 : ms;
}

/* One request and its answer. */
static void exchange(void)
{
    quorate_flush(&client);
    quorate_step(&client, now);
    quorate_step(&client, now);
}

/* When the next request is begun, in milliseconds from now, looked for in steps of a second. */
static uint32_t wait_of(uint32_t most)
{
    uint32_t before = service.requests;
    uint32_t from = now;

    while (service.requests == before && now - from <= most) {
        quorate_step(&client, now);
        quorate_step(&client, now);
        pass(1000);
    }
    return now - from - 1000;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void written(struct quorate_writer *writer, const char *wanted)
{
    if (writer->length != strlen(wanted) || memcmp(writer->text, wanted, writer->length) != 0) {
        fprintf(stderr, "%.*s\nis not\n%s\n", (int)writer->length, writer->text, wanted);
        abort();
    }
}

static void values_are_written_as_json(void)
{
    static const char *const words[] = {"left", "right"};
    struct quorate_writer writer;
    char text[512];

    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_text(&writer, "t", "x1", 2);
    quorate_write_text(&writer, "absent", NULL, 2);
    quorate_write_integer(&writer, "i", INT64_MIN, INT64_MIN, 0);
    quorate_write_integer(&writer, "j", INT64_MAX, 0, INT64_MAX);
    quorate_write_integer(&writer, "k", 0, -1, 1);
    quorate_write_float(&writer, "f", -0.9999999, -1, 1);
    quorate_write_float(&writer, "g", 123456.25, 0, 1e9);
    quorate_write_boolean(&writer, "b", true);
    quorate_write_choice(&writer, "c", 2, words, 2);
    quorate_write_choice(&writer, "absent", 0, words, 2);
    CHECK(!writer.unfit);
    written(&writer, "\"t\":\"x1\",\"i\":-9223372036854775808,\"j\":9223372036854775807,\"k\":0,\"f\":-1.000000,"
                     "\"g\":123456.250000,\"b\":true,\"c\":\"right\"");
}

static void texts_cannot_leave_their_quotes(void)
{
    struct quorate_writer writer;
    char text[512];

    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_text(&writer, "t", "\"\\\n\x01\x7f/", 64);
    quorate_write_text(&writer, "u", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf", 64);
    /* A lone byte, a cut character, an overlong slash, a surrogate, beyond U+10FFFF, a character cut by the end. */
    quorate_write_text(&writer, "v", "\xff|\xc3|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82", 64);
    written(&writer, "\"t\":\"\\\"\\\\\\u000a\\u0001\x7f/\",\"u\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf\","
                     "\"v\":\"\\ufffd|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd\\ufffd|"
                     "\\ufffd\\ufffd\"");
}

static void what_does_not_fit_is_unfit(void)
{
    static const char *const words[] = {"left"};
    struct quorate_writer writer;
    char text[16];
    double zero = 0;

    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_text(&writer, "t", "x123", 3);
    CHECK(writer.unfit);
    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_integer(&writer, "i", 11, 0, 10);
    CHECK(writer.unfit);
    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_float(&writer, "f", zero / zero, 0, 10);
    CHECK(writer.unfit);
    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_float(&writer, "f", 1e15, 0, 1e300);
    CHECK(writer.unfit);
    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_choice(&writer, "c", 2, words, 1);
    CHECK(writer.unfit);
    quorate_write_begin(&writer, text, sizeof text);
    quorate_write_text(&writer, "t", "0123456789", 64);
    CHECK(!writer.unfit && writer.length == 16);
    quorate_write_begin(&writer, text, sizeof text - 1);
    quorate_write_text(&writer, "t", "0123456789", 64);
    CHECK(writer.unfit && writer.length <= 15);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static void sent(const char *wanted)
{
    if (strcmp(service.last, wanted) != 0) {
        fprintf(stderr, "%s\nis not\n%s\n", service.last, wanted);
        abort();
    }
}

static void a_request_is_an_envelope(void)
{
    fresh();
    pass(500);
    record(14230);
    pass(250);
    record(7);
    pass(2000);
    exchange();
    sent("{\"common\":{\"serial_number\":\"X1-000417\"},\"boot\":1,\"sent_uptime_ms\":2750,\"events\":["
         "{\"seq\":1,\"uptime_ms\":500,\"type\":\"device_usage\",\"product\":\"x1\",\"version\":\"3.8.1\","
         "\"duration\":14230},{\"seq\":2,\"uptime_ms\":750,\"type\":\"device_usage\",\"product\":\"x1\","
         "\"version\":\"3.8.1\",\"duration\":7}]}");
    CHECK_EQUAL(quorate_counts(&client).delivered, 2);
    CHECK_EQUAL(quorate_waiting(&client), 0);
}

static void events_of_an_earlier_start_have_their_own_boot_and_no_uptime(void)
{
    fresh();
    record(1);
    pass(100);
    restart();
    pass(50);
    record(2);
    exchange();
    sent("{\"common\":{\"serial_number\":\"X1-000417\"},\"boot\":2,\"sent_uptime_ms\":50,\"events\":["
         "{\"boot\":1,\"seq\":1,\"type\":\"device_usage\",\"product\":\"x1\",\"version\":\"3.8.1\",\"duration\":1},"
         "{\"seq\":1,\"uptime_ms\":50,\"type\":\"device_usage\",\"product\":\"x1\",\"version\":\"3.8.1\",\"duration\":2}"
         "]}");
}

static void the_calendar_dates_events_of_an_earlier_start(void)
{
    fresh();
    config.calendar_ms = calendar_ms;
    restart();
    record(1); /* before the calendar is known */
    calendar = 1763770000000u;
    record(2);
    pass(100);
    restart();
    exchange();
    CHECK(strstr(service.last, ",\"sent\":1763770000100,\"events\":[{\"boot\":1,\"seq\":1,\"type\"") != NULL);
    CHECK(strstr(service.last, "{\"boot\":1,\"seq\":2,\"time\":1763770000000,\"type\"") != NULL);
    /* Without the time of sending there is no time of the event either. */
    fresh();
    config.calendar_ms = calendar_ms;
    calendar = 1763770000000u;
    record(1);
    calendar = 0;
    restart();
    exchange();
    CHECK(strstr(service.last, "time\":") == NULL && strstr(service.last, "sent\":") == NULL);
}

static void batches_keep_to_their_bytes_and_events(void)
{
    uint32_t stored = 0;

    fresh();
    config.batch_bytes = 700;
    record_many(1, 40);
    while (quorate_waiting(&client) > 0) {
        exchange();
        CHECK(strlen(service.last) <= 700 && service.events_last > 1);
        CHECK(service.stored > stored);
        stored = service.stored;
    }
    CHECK_EQUAL(stored, 40);
    fresh();
    config.batch_events = 3;
    record_many(1, 7);
    exchange();
    CHECK_EQUAL(service.events_last, 3);
    fresh();
    record_many(1, 40);
    exchange();
    CHECK_EQUAL(service.events_last, 32);
}

static void events_left_by_a_build_with_a_larger_batch_are_unfit(void)
{
    struct device_usage event = {.version = "0123456789012345678901234567890123456789012345678901234567890123456789",
                                 .feature = "aaaaaaaaaaaaaaaaaaaaaaaa",
                                 .product = "aaaaaaaaaaaaaaaaaaaaaaaa"};

    fresh();
    CHECK_EQUAL(device_usage_record(&client, &event, now), QUORATE_OK);
    config.batch_bytes = 300;
    restart();
    record(2);
    exchange();
    CHECK_EQUAL(quorate_counts(&client).unfit, 1);
    CHECK_EQUAL(quorate_counts(&client).delivered, 1);
    CHECK_EQUAL(device_usage_record(&client, &event, now), QUORATE_UNFIT);
    CHECK_EQUAL(quorate_counts(&client).unfit, 2);
}

static void events_linger_for_company_unless_there_is_enough(void)
{
    fresh();
    pass(60000);
    record(1);
    CHECK_EQUAL(quorate_step(&client, now), 30000);
    pass(29999);
    CHECK_EQUAL(quorate_step(&client, now), 1);
    pass(1);
    CHECK_EQUAL(quorate_step(&client, now), 0);
    quorate_step(&client, now);
    CHECK_EQUAL(service.stored, 1);
    record_many(2, 33);
    quorate_step(&client, now);
    quorate_step(&client, now);
    CHECK_EQUAL(service.stored, 33);
    /* Before the clock has counted around. */
    CHECK_EQUAL(quorate_step(&client, now), 0x7fffffffu);
}

/* Takes steps, and sleeps as long as they say, until nothing waits or `most` ms have passed; gives how long that took. */
static uint32_t sleep_until_nothing_waits(uint32_t most)
{
    uint32_t from = now;

    for (;;) {
        uint32_t rest = quorate_step(&client, now);
        if (quorate_waiting(&client) == 0 || now - from > most) {
            return now - from;
        }
        pass(rest);
    }
}

static void what_did_not_fit_goes_at_once(void)
{
    unsigned at_once;

    for (at_once = 0; at_once < 2; at_once++) {
        fresh();
        service.answers_at_once = at_once != 0;
        config.batch_bytes = 1024;
        pass(60000);
        record_many(1, 30);
        CHECK_EQUAL(sleep_until_nothing_waits(HOUR), 30000);
        CHECK_EQUAL(service.stored, 30);
        CHECK(service.requests > 2);
    }
}

static void what_comes_while_the_last_request_is_under_way_lingers(void)
{
    fresh();
    config.batch_bytes = 1024;
    pass(60000);
    record_many(1, 12);
    pass(30000);
    while (client.flight < quorate_waiting(&client)) {
        CHECK_EQUAL(quorate_step(&client, now), 0);
    }
    CHECK_EQUAL(service.requests, 1);
    record(13);
    CHECK_EQUAL(quorate_step(&client, now), 30000);
    CHECK_EQUAL(quorate_waiting(&client), 1);
}

static void halves_of_what_was_too_large_do_not_linger(void)
{
    fresh();
    pass(60000);
    record_many(1, 20);
    service.bytes_max = 900;
    /* Less than another linger: at most a second after each answer 413. */
    CHECK(sleep_until_nothing_waits(HOUR) < 30000 + 10000);
    CHECK_EQUAL(service.stored, 20);
}

static void a_full_batch_sleeps_no_longer_than_its_back_off(void)
{
    uint32_t rest;

    fresh();
    config.batch_events = 8;
    config.linger_ms = HOUR;
    record_many(1, 40);
    service.mood = MOOD_STATUS;
    service.status = 503;
    CHECK_EQUAL(quorate_step(&client, now), 0);
    rest = quorate_step(&client, now);
    CHECK(rest >= 1000 && rest <= 2000);
    CHECK_EQUAL(service.requests, 1);
    service.mood = MOOD_WELL;
    CHECK(sleep_until_nothing_waits(2 * HOUR) <= 2000);
    CHECK_EQUAL(service.stored, 40);
}

static void the_clock_may_wrap_and_be_read_out_of_order(void)
{
    fresh();
    now = 0xffffff00u;
    restart();
    record(1);
    pass(0x200);
    quorate_step(&client, now);
    quorate_step(&client, now - 5);
    record(2);
    exchange();
    CHECK(strstr(service.last, "\"sent_uptime_ms\":512,") != NULL);
    CHECK(strstr(service.last, "\"seq\":2,\"uptime_ms\":512,") != NULL);
}

static void a_month_of_sleep_is_a_month(void)
{
    static const uint32_t sleeps[] = {23, 25, 31, 49};
    size_t i;

    for (i = 0; i < sizeof sleeps / sizeof *sleeps; i++) {
        fresh();
        record(1);
        pass(sleeps[i] * 24 * HOUR);
        quorate_step(&client, now);
        quorate_step(&client, now);
        CHECK_EQUAL(client.now / HOUR, sleeps[i] * 24);
        CHECK_EQUAL(service.requests, 1);
    }
}

/* ---- the table of answers ------------------------------------------------------------------------------------- */

struct row {
    unsigned status;
    const char *text;
    uint32_t retry_after_s;
    uint32_t wait_min, wait_max; /* until the next request */
    uint32_t kept;               /* of two events */
};

static const char receipt_2[] = "{\"accepted\":2,\"refused\":[],\"refused_total\":0,\"changed\":[]}";
static const char malformed[] = "{\"error\":\"malformed\",\"message\":\"not JSON\",\"retry\":false}";
static const char refused_2[] =
    "{\"error\":\"all_refused\",\"accepted\":0,\"refused_total\":2,\"refused\":["
    "{\"index\":0,\"reason\":\"out_of_range\",\"retry\":false},{\"retry\":false,\"index\":1}],\"retry\":false}";
static const char portal[] = "<html><title>Log in</title></html>";

static void every_status_has_its_row(void)
{
    static const struct row rows[] = {
        {202, receipt_2, 0, 0, 0, 0},
        {200, receipt_2, 0, 0, 0, 0},
        {400, refused_2, 0, 0, 0, 0},
        {202, portal, 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {200, portal, 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {200, "", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {202, "{\"accepted\":2,\"refused\":[],\"refused_total\":0", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {202, "{\"accepted\":1,\"refused\":[],\"refused_total\":0}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {202, "{\"accepted\":3,\"refused\":[],\"refused_total\":0}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {302, portal, 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {400, portal, 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {400, malformed, 0, 0, 1000, 2},
        {401, "{}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {401, "{}", 7200, 2 * HOUR, 2 * HOUR * 5 / 4 + 1000, 2},
        {403, "{}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {404, "{}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {405, "{}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {408, "{}", 0, 1000, 2000, 2},
        {413, "{}", 0, 0, 1000, 2},
        {415, "{}", 0, HOUR, HOUR * 5 / 4 + 1000, 2},
        {429, "{}", 0, 1000, 2000, 2},
        {429, "{}", 60, 60000, 76000, 2},
        {500, "{}", 0, 1000, 2000, 2},
        {503, "{}", 5, 5000, 7250, 2},
        {503, "{}", 4000000000u, 24 * HOUR, 30 * HOUR + 1000, 2},
        {504, "", 0, 1000, 2000, 2},
        {999, "", 0, 1000, 2000, 2},
        {0, "", 0, 1000, 2000, 2},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        uint32_t wait;
        snprintf(check_context, sizeof check_context, "row %zu, status %u", i, row->status);
        fresh();
        record_many(1, 2);
        service.mood = MOOD_STATUS;
        service.status = row->status;
        service.text = row->text;
        service.retry_after_s = row->retry_after_s;
        exchange();
        CHECK_EQUAL(service.requests, 1);
        CHECK_EQUAL(quorate_status(&client), row->status);
        CHECK_EQUAL(quorate_waiting(&client), row->kept);
        if (row->kept > 0) {
            service.mood = MOOD_WELL;
            wait = wait_of(40 * HOUR);
            CHECK(wait + 1000 > row->wait_min && wait < row->wait_max + 1000);
        }
    }
    check_context[0] = '\0';
}

static void of_a_receipt_each_event_goes_its_way(void)
{
    uint32_t kept = 0;

    fresh();
    record_many(1, 10);
    service.refuse_each = 4;
    service.retry_each = 5;
    exchange();
    CHECK_EQUAL(quorate_counts(&client).delivered, 6);
    CHECK_EQUAL(quorate_counts(&client).refused, 2);
    CHECK_EQUAL(quorate_waiting(&client), 2);
    /* Those kept survive a restart, wait, and go with what came later. */
    restart();
    record(11);
    service.retry_each = 10;
    exchange();
    kept = quorate_waiting(&client);
    CHECK_EQUAL(service.events_last, 3);
    CHECK_EQUAL(kept, 1);
    service.retry_each = 0;
    CHECK(wait_of(10000) >= 1000);
    CHECK_EQUAL(service.events_last, 1);
    CHECK_EQUAL(quorate_waiting(&client), 0);
    CHECK_EQUAL(quorate_counts(&client).delivered, 9);
    CHECK_EQUAL(service.conflicts + service.copies, 0);
}

static void more_kept_than_can_be_noted_are_still_kept(void)
{
    fresh();
    record_many(1, 20);
    service.retry_each = 2;
    exchange();
    CHECK(quorate_waiting(&client) >= 10);
    service.retry_each = 0;
    while (quorate_waiting(&client) > 0) {
        pass(HOUR);
        exchange();
    }
    CHECK_EQUAL(service.stored, 20);
    CHECK_EQUAL(quorate_counts(&client).delivered, 20);
}

static void what_is_too_large_is_halved_down_to_the_event_at_fault(void)
{
    fresh();
    record_many(1, 20);
    service.bytes_max = 900;
    while (quorate_waiting(&client) > 0) {
        exchange();
        pass(1000);
    }
    CHECK_EQUAL(service.stored, 20);
    CHECK(service.requests < 20);
    fresh();
    record_many(1, 4);
    service.bytes_max = 10;
    while (quorate_waiting(&client) > 0) {
        exchange();
        pass(1000);
    }
    CHECK_EQUAL(quorate_counts(&client).refused, 4);
    /* 4, 2, 1, and each of the other three by itself. */
    CHECK_EQUAL(service.requests, 6);
}

static void waits_double_and_are_spread(void)
{
    uint32_t longest = 2000;
    uint32_t i, first = 0;
    bool differs = false;

    fresh();
    record(1);
    service.mood = MOOD_LOST_REQUEST;
    exchange();
    for (i = 0; i < 14; i++) {
        uint32_t wait = wait_of(2 * HOUR);
        CHECK(wait + 1000 >= longest / 2 && wait <= longest + 1000);
        longest = longest < 450000 ? 2 * longest : 900000;
        first = i == 10 ? wait : first;
        differs = differs || (i > 10 && wait != first);
    }
    CHECK(differs);
    quorate_try_again(&client);
    service.mood = MOOD_WELL;
    exchange();
    CHECK_EQUAL(quorate_waiting(&client), 0);
}

static void devices_draw_different_waits(void)
{
    static const char other[] = "\"serial_number\":\"X1-000418\"";
    uint32_t wait;

    fresh();
    record(1);
    wait = client.random;
    fresh();
    config.common = other;
    restart();
    record(1);
    CHECK(client.random != wait);
}

static void an_hour_of_401_costs_no_event(void)
{
    uint32_t i;

    fresh();
    service.mood = MOOD_STATUS;
    service.status = 401;
    for (i = 1; i <= 60; i++) {
        record(i);
        quorate_flush(&client);
        quorate_step(&client, now);
        quorate_step(&client, now);
        pass(60000);
    }
    CHECK_EQUAL(service.requests, 1);
    service.mood = MOOD_WELL;
    wait_of(HOUR);
    while (quorate_waiting(&client) > 0) {
        exchange();
    }
    CHECK_EQUAL(service.stored, 60);
}

static void silence_is_waited_for_and_given_up(void)
{
    fresh();
    record(1);
    service.mood = MOOD_SILENT;
    exchange();
    pass(29999);
    CHECK_EQUAL(quorate_step(&client, now), 0);
    pass(1);
    CHECK(quorate_step(&client, now) > 0);
    CHECK(service.body == NULL);
    service.mood = MOOD_WELL;
    pass(2000);
    exchange();
    CHECK_EQUAL(service.stored, 1);
}

static void lost_and_cut_answers_are_asked_for_again(void)
{
    fresh();
    record_many(1, 5);
    service.mood = MOOD_LOST_ANSWER;
    exchange();
    CHECK_EQUAL(quorate_waiting(&client), 5);
    service.mood = MOOD_CUT_ANSWER;
    pass(5000);
    exchange();
    CHECK_EQUAL(quorate_waiting(&client), 5);
    service.mood = MOOD_WELL;
    service.part_bytes = 1;
    pass(5000);
    exchange();
    CHECK_EQUAL(quorate_waiting(&client), 0);
    CHECK_EQUAL(service.stored, 5);
    CHECK_EQUAL(service.copies, 10);
    CHECK_EQUAL(quorate_counts(&client).delivered, 5);
}

static void answers_that_nobody_waits_for_are_ignored(void)
{
    fresh();
    record(1);
    quorate_answer_begin(&client, 202, 0);
    quorate_answer_body(&client, receipt_2, sizeof receipt_2 - 1);
    quorate_answer_end(&client, true);
    CHECK_EQUAL(quorate_waiting(&client), 1);
    CHECK_EQUAL(quorate_status(&client), 0);
}

/* What comes as a receipt for two events: is it believed? */
static bool is_believed(const char *text)
{
    fresh();
    record_many(1, 2);
    service.mood = MOOD_STATUS;
    service.status = 202;
    service.text = text;
    service.part_bytes = 3;
    exchange();
    return quorate_waiting(&client) == 0;
}

static void only_a_receipt_that_adds_up_is_believed(void)
{
    CHECK(is_believed(" { \"refused\" : [ ] , \"refused_total\" : 0 , \"accepted\" : 2 , \"new\" : {\"a\":[[{}]]} } \r\n"));
    CHECK(is_believed("{\"accepted\":1,\"refused\":[{\"x\":{\"index\":9,\"retry\":true},\"index\":1,\"y\":[{\"index\":0}],"
                      "\"expected\":\"}\\\"]\",\"retry\":false}],\"refused_total\":1}"));
    CHECK(is_believed("{\"changed\":[{\"index\":7,\"retry\":true}],\"accepted\":2,\"refused\":[],\"refused_total\":0}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":[]}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused_total\":0}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":{},\"refused_total\":0}"));
    CHECK(!is_believed("{\"accepted\":1,\"refused\":[],\"refused_total\":1}"));
    CHECK(!is_believed("{\"accepted\":1,\"refused\":[{\"index\":2}],\"refused_total\":1}"));
    CHECK(!is_believed("{\"accepted\":1,\"refused\":[{\"index\":-1}],\"refused_total\":1}"));
    CHECK(!is_believed("{\"accepted\":1,\"refused\":[{\"reason\":\"x\"}],\"refused_total\":1}"));
    CHECK(!is_believed("{\"accepted\":0,\"refused\":[{\"index\":0},{\"index\":0}],\"refused_total\":2}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":[],\"refused_total\":0}}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":[],\"refused_total\":0}{\"a\":1}"));
    CHECK(!is_believed("[{\"accepted\":2,\"refused\":[],\"refused_total\":0}]"));
    CHECK(!is_believed("{\"a\":{\"accepted\":2,\"refused\":[],\"refused_total\":0}}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":[],\"refused_total\":0]"));
    CHECK(!is_believed("{\"accepted\":4294967298,\"refused\":[],\"refused_total\":0}"));
    CHECK(!is_believed("{\"\\u0061ccepted\":2,\"refused\":[],\"refused_total\":0}"));
    CHECK(!is_believed("{\"accepted\":2,\"refused\":[],\"refused_total\":0,\"deep\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                       "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"));
}

/* ---- storage -------------------------------------------------------------------------------------------------- */

static void the_oldest_go_when_full_and_are_counted(void)
{
    struct quorate_counts counts;
    uint32_t i;

    fresh();
    config.storage = flash_storage(&flash, 2);
    restart();
    record_many(1, 200);
    counts = quorate_counts(&client);
    CHECK(counts.dropped > 100);
    CHECK_EQUAL(counts.dropped + quorate_waiting(&client), 200);
    restart();
    CHECK_EQUAL(quorate_counts(&client).dropped, counts.dropped);
    CHECK_EQUAL(quorate_waiting(&client), 200 - counts.dropped);
    while (quorate_waiting(&client) > 0) {
        exchange();
    }
    for (i = 1; i <= 200; i++) {
        CHECK_EQUAL(service_stored(&service, i), i > counts.dropped);
    }
}

static void the_newest_go_when_full_if_so_configured(void)
{
    uint32_t taken = 0, i;

    fresh();
    config.storage = flash_storage(&flash, 2);
    config.when_full = QUORATE_DROP_NEWEST;
    restart();
    for (i = 1; i <= 200; i++) {
        taken += record(i) == QUORATE_OK;
    }
    CHECK_EQUAL(quorate_counts(&client).dropped, 200 - taken);
    CHECK_EQUAL(quorate_waiting(&client), taken);
    while (quorate_waiting(&client) > 0) {
        exchange();
    }
    CHECK_EQUAL(service.stored, taken);
    for (i = 1; i <= taken; i++) {
        CHECK(service_stored(&service, i));
    }
    /* There is room again, and the count is kept. */
    CHECK_EQUAL(record(201), QUORATE_OK);
    restart();
    CHECK_EQUAL(quorate_counts(&client).dropped, 200 - taken);
}

static void what_is_dropped_on_its_way_is_counted_as_what_became_of_it(void)
{
    fresh();
    config.storage = flash_storage(&flash, 2);
    restart();
    record_many(1, 20);
    quorate_flush(&client);
    quorate_step(&client, now);
    record_many(21, 120);
    CHECK(quorate_counts(&client).dropped >= 20);
    quorate_step(&client, now);
    CHECK_EQUAL(service.events_last, 20);
    CHECK_EQUAL(quorate_counts(&client).delivered, 20);
    while (quorate_waiting(&client) > 0) {
        exchange();
    }
    CHECK_EQUAL(quorate_counts(&client).delivered, service.stored);
    CHECK_EQUAL(quorate_counts(&client).delivered + quorate_counts(&client).dropped, 120);
}

static void sectors_wear_evenly(void)
{
    uint32_t least = 0xffffffffu, most = 0, i;

    fresh();
    for (i = 1; i <= 3000; i++) {
        record(i);
        if (i % 10 == 0) {
            exchange();
        }
    }
    for (i = 0; i < 8; i++) {
        least = flash.erases[i] < least ? flash.erases[i] : least;
        most = flash.erases[i] > most ? flash.erases[i] : most;
    }
    CHECK(most - least <= 1 && least > 5);
    CHECK_EQUAL(service.stored, 3000);
}

static void starts_without_events_write_nothing(void)
{
    uint32_t i;

    fresh();
    record(1);
    flash.written = 0;
    for (i = 0; i < 1000; i++) {
        restart();
    }
    CHECK_EQUAL(flash.written, 0);
    CHECK_EQUAL(client.boot, 2);
}

static void a_boot_number_is_never_used_twice(void)
{
    uint32_t i;

    fresh();
    config.boot = 0x80000007u;
    restart();
    CHECK_EQUAL(client.boot, 7);
    for (i = 1; i < 50; i++) {
        record(i);
        if (i % 3 == 0) {
            exchange();
        }
        restart();
        CHECK_EQUAL(client.boot, 7 + i);
    }
}

static void damage_costs_what_is_damaged(void)
{
    fresh();
    record_many(1, 100);
    /* In the middle of the third sector's first events. */
    memset(flash.bytes + 2 * 4096 + 300, 0x55, 8);
    restart();
    CHECK_EQUAL(quorate_counts(&client).damaged, 1);
    CHECK_EQUAL(quorate_waiting(&client), 99);
    while (quorate_waiting(&client) > 0) {
        exchange();
    }
    CHECK_EQUAL(service.stored, 99);
}

static void damage_on_its_way_moves_no_answer(void)
{
    fresh();
    record_many(1, 4);
    quorate_flush(&client);
    quorate_step(&client, now);
    /* Behind the sector's first record and the first event: within the second. */
    memset(flash.bytes + 48 + 150, 0x55, 8);
    record(5);
    quorate_step(&client, now);
    CHECK_EQUAL(quorate_counts(&client).delivered, 0);
    pass(2000);
    exchange();
    CHECK(service_stored(&service, 5));
    CHECK_EQUAL(service.events_last, 4);
}

static void a_start_goes_on_where_the_last_one_ended(void)
{
    uint32_t i;

    fresh();
    for (i = 1; i <= 20; i++) {
        record(i);
        restart();
    }
    CHECK_EQUAL(flash.erases[0], 1);
    CHECK_EQUAL(flash.erases[1], 0);
}

static void a_flash_that_fails_now_and_then_costs_one_event_each_time(void)
{
    uint32_t failed = 0, i;

    fresh();
    for (i = 1; i <= 500; i++) {
        flash.erase_failures = i % 50 == 0;
        failed += record(i) == QUORATE_STORAGE;
        exchange();
    }
    CHECK(failed < 10);
    CHECK_EQUAL(quorate_counts(&client).failed, failed);
    CHECK_EQUAL(service.stored, 500 - failed);
    /* A sector that never works is passed over. */
    fresh();
    record(1);
    flash.erase_failures = 4;
    for (i = 2; i <= 200; i++) {
        record(i);
        exchange();
    }
    CHECK_EQUAL(service.stored + quorate_counts(&client).failed, 200);
    CHECK(quorate_counts(&client).failed <= 4);
}

static void memory_is_storage_too(void)
{
    static uint8_t bytes[4096];
    static struct quorate_memory memory;
    uint32_t taken;

    fresh();
    memset(bytes, 0, sizeof bytes);
    quorate_storage_in_memory(&config.storage, &memory, bytes, sizeof bytes, 8);
    restart();
    record_many(1, 10);
    /* As in memory that a reset leaves alone. */
    restart();
    CHECK_EQUAL(quorate_waiting(&client), 10);
    CHECK_EQUAL(quorate_counts(&client).damaged, 0);
    exchange();
    CHECK_EQUAL(service.stored, 10);
    record_many(11, 100);
    taken = quorate_waiting(&client);
    CHECK(taken > 15);
    CHECK_EQUAL(quorate_counts(&client).dropped + taken, 90);
}

/* Of a driver that times out and reports it, though the flash went on. */
static void what_is_written_whole_is_recorded_whatever_the_driver_says(void)
{
    uint32_t i, taken = 0;

    for (i = 1; i <= 3; i++) {
        fresh();
        record(1);
        flash.denies_in = i;
        taken += record(2) == QUORATE_OK;
        CHECK_EQUAL(flash.denies_in, 0);
        CHECK_EQUAL(record(3), QUORATE_OK);
        exchange();
        CHECK_EQUAL(service.stored, quorate_counts(&client).delivered);
        CHECK_EQUAL(service.stored + quorate_counts(&client).failed, 3);
    }
    /* At the last of its three parts. */
    CHECK_EQUAL(taken, 1);
}

/* Byte by byte it would be a read for each, at every start. */
static void a_large_erased_storage_is_looked_through_quickly(void)
{
    uint32_t i;

    for (i = 0; i < 2; i++) {
        fresh();
        /* Also what is neither erased nor a record. */
        memset(flash.bytes, i == 0 ? 0xff : 0, sizeof flash.bytes);
        flash.program_bytes = 1;
        config.storage = flash_storage(&flash, FLASH_BYTES_MAX / 4096);
        restart();
        record_many(1, 5);
        flash.reads = 0;
        restart();
        CHECK_EQUAL(quorate_waiting(&client), 5);
        CHECK(flash.reads < 3 * FLASH_BYTES_MAX / 32);
    }
}

/* As error correction that has given up reads: other bytes than were written, each time. */
static void a_word_that_never_reads_again_costs_one_event(void)
{
    struct quorate_counts counts;

    fresh();
    record_many(1, 3);
    memset(flash.bytes + 200, 0, flash.program_bytes);
    restart();
    CHECK_EQUAL(quorate_waiting(&client), 2);
    counts = quorate_counts(&client);
    CHECK_EQUAL(counts.damaged, 1);
    exchange();
    CHECK_EQUAL(service.stored, 2);
}

static void what_cannot_work_is_refused(void)
{
    fresh();
    config.storage.sectors = 1;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
    fresh();
    config.storage.program_bytes = 3;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
    fresh();
    config.storage.sector_bytes = 128;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
    fresh();
    config.batch_bytes = 250;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
    fresh();
    config.boot = 0;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
    fresh();
    config.transport.send = NULL;
    CHECK_EQUAL(quorate_init(&client, &config, 0), QUORATE_CONFIG);
}

/* ---- HTTP ----------------------------------------------------------------------------------------------------- */

/* An answer as bytes, in parts of `part`; gives whether two waiting events were delivered. */
static bool over_http(const char *answer, size_t part, bool closes, struct quorate_http *http)
{
    size_t length = strlen(answer);
    bool over = false;
    size_t at;

    fresh();
    record_many(1, 2);
    service.mood = MOOD_SILENT;
    quorate_flush(&client);
    quorate_step(&client, now);
    quorate_http_begin(http);
    for (at = 0; at < length && !over; at += part) {
        over = quorate_http_take(http, &client, answer + at, length - at < part ? length - at : part);
    }
    if (closes) {
        quorate_http_closed(http, &client);
    }
    CHECK(!closes || client.flight == 0);
    return quorate_waiting(&client) == 0;
}

#define RECEIPT "{\"accepted\":2,\"refused\":[],\"refused_total\":0}"
#define RECEIPT_BYTES "45"
#define CHUNKED                                                                                                      \
    "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n2C ; x=y\r\n"                                  \
    "\"accepted\":2,\"refused\":[],\"refused_total\":0}\r\n0\r\nTrailer: x\r\n\r\n"

static void answers_are_read_in_any_parts(void)
{
    static const char *const good[] = {
        "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: " RECEIPT_BYTES "\r\n\r\n" RECEIPT,
        "HTTP/1.1 202\r\ncontent-length:" RECEIPT_BYTES " \r\n\r\n" RECEIPT "HTTP/1.1 500 behind the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 OK\nCONTENT-LENGTH: " RECEIPT_BYTES "\n\n" RECEIPT,
        CHUNKED,
    };
    struct quorate_http http;
    size_t i, part;

    for (i = 0; i < sizeof good / sizeof *good; i++) {
        for (part = 1; part < 200; part++) {
            snprintf(check_context, sizeof check_context, "answer %zu in parts of %zu", i, part);
            CHECK(over_http(good[i], part, false, &http));
            CHECK(!http.closes);
        }
    }
    CHECK(over_http("HTTP/1.0 202 OK\r\n\r\n" RECEIPT, 7, true, &http));
    CHECK(http.closes);
    CHECK(over_http("HTTP/1.1 202 OK\r\nConnection: close\r\nContent-Length: " RECEIPT_BYTES "\r\n\r\n" RECEIPT, 7, false,
                    &http));
    CHECK(http.closes);
    check_context[0] = '\0';
}

static void broken_answers_acknowledge_nothing(void)
{
    static const char *const bad[] = {
        "",
        "\r\n",
        "HTTP/2 202\r\n\r\n" RECEIPT,
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 20 OK\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nContent-Length: 46\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nContent-Length: x\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nContent-Length: 45\r\nContent-Length: 44\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" RECEIPT,
        "HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n" RECEIPT "x\r\n0\r\n\r\n",
        "HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n" RECEIPT "\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n" RECEIPT,
        "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: " RECEIPT_BYTES "\r\n\r\n" RECEIPT,
    };
    struct quorate_http http;
    size_t i, part;

    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (part = 1; part < 200; part += 13) {
            snprintf(check_context, sizeof check_context, "answer %zu in parts of %zu", i, part);
            CHECK(!over_http(bad[i], part, true, &http));
        }
    }
    check_context[0] = '\0';
}

static void waits_are_read_from_the_head(void)
{
    struct quorate_http http;

    over_http("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", 9, false, &http);
    CHECK(client.not_before - client.now >= 5000 && client.not_before - client.now <= 7250);
    /* Also if the rest never comes. */
    over_http("HTTP/1.1 429 Too Many\r\nRetry-After: 60\r\nContent-Length: 100\r\n\r\n{", 9, true, &http);
    CHECK(client.not_before - client.now >= 60000);
    over_http("HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n", 9, true,
              &http);
    CHECK(client.not_before - client.now <= 2000);
}

static void a_head_fits_its_room(void)
{
    char head[256];
    size_t length = quorate_http_head(head, sizeof head, "example.org", "qd_key", 1234);
    static const char wanted[] = "POST /v1/events HTTP/1.1\r\nHost: example.org\r\nAuthorization: Bearer qd_key\r\n"
                                 "Content-Type: application/json\r\nContent-Length: 1234\r\n\r\n";

    CHECK(length == sizeof wanted - 1 && memcmp(head, wanted, length) == 0);
    CHECK_EQUAL(quorate_http_head(head, length, "example.org", "qd_key", 1234), length);
    CHECK_EQUAL(quorate_http_head(head, length - 1, "example.org", "qd_key", 1234), 0);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
#define TEST(name) {#name, name}
        TEST(values_are_written_as_json),
        TEST(texts_cannot_leave_their_quotes),
        TEST(what_does_not_fit_is_unfit),
        TEST(a_request_is_an_envelope),
        TEST(events_of_an_earlier_start_have_their_own_boot_and_no_uptime),
        TEST(the_calendar_dates_events_of_an_earlier_start),
        TEST(batches_keep_to_their_bytes_and_events),
        TEST(events_left_by_a_build_with_a_larger_batch_are_unfit),
        TEST(events_linger_for_company_unless_there_is_enough),
        TEST(what_did_not_fit_goes_at_once),
        TEST(what_comes_while_the_last_request_is_under_way_lingers),
        TEST(halves_of_what_was_too_large_do_not_linger),
        TEST(a_full_batch_sleeps_no_longer_than_its_back_off),
        TEST(the_clock_may_wrap_and_be_read_out_of_order),
        TEST(a_month_of_sleep_is_a_month),
        TEST(every_status_has_its_row),
        TEST(of_a_receipt_each_event_goes_its_way),
        TEST(more_kept_than_can_be_noted_are_still_kept),
        TEST(what_is_too_large_is_halved_down_to_the_event_at_fault),
        TEST(waits_double_and_are_spread),
        TEST(devices_draw_different_waits),
        TEST(an_hour_of_401_costs_no_event),
        TEST(silence_is_waited_for_and_given_up),
        TEST(lost_and_cut_answers_are_asked_for_again),
        TEST(answers_that_nobody_waits_for_are_ignored),
        TEST(only_a_receipt_that_adds_up_is_believed),
        TEST(the_oldest_go_when_full_and_are_counted),
        TEST(the_newest_go_when_full_if_so_configured),
        TEST(what_is_dropped_on_its_way_is_counted_as_what_became_of_it),
        TEST(sectors_wear_evenly),
        TEST(starts_without_events_write_nothing),
        TEST(a_boot_number_is_never_used_twice),
        TEST(damage_costs_what_is_damaged),
        TEST(damage_on_its_way_moves_no_answer),
        TEST(a_start_goes_on_where_the_last_one_ended),
        TEST(a_flash_that_fails_now_and_then_costs_one_event_each_time),
        TEST(memory_is_storage_too),
        TEST(what_is_written_whole_is_recorded_whatever_the_driver_says),
        TEST(a_large_erased_storage_is_looked_through_quickly),
        TEST(a_word_that_never_reads_again_costs_one_event),
        TEST(what_cannot_work_is_refused),
        TEST(answers_are_read_in_any_parts),
        TEST(broken_answers_acknowledge_nothing),
        TEST(waits_are_read_from_the_head),
        TEST(a_head_fits_its_room),
#undef TEST
    };
    size_t i;

    for (i = 0; i < sizeof tests / sizeof *tests; i++) {
        printf("unit: %s\n", tests[i].name);
        fflush(stdout);
        tests[i].test();
    }
    return 0;
}
