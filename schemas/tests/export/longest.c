/* Writes the longest event and the longest common part, and says how long they are. */
#include <stdio.h>
#include <string.h>

#include "events.h"

static char url[2049];
static char version[104];

int main(void)
{
    char text[PROBE_BYTES], common[DEVICE_COMMON_BYTES];
    struct quorate_writer writer;
    struct probe event = {0};

    memset(url, 1, sizeof url - 1);
    memset(version, '1', sizeof version - 1);
    event.free = "\1\2\3\4\5\6\7\1\2\3";
    event.form = "abcdefgh";
    event.release = version;
    event.page = url;
    event.has_below = event.has_share = event.has_huge = event.has_at = event.has_on = true;
    event.below = -100;
    event.share = 9.9999999;
    event.huge_ = 999999999999999.0;
    event.at_ms = 253402300799999;
    event.word = PROBE_WORD_Q__Q;
    quorate_write_begin(&writer, text, sizeof text);
    probe_write(&event, &writer);
    printf("%lu of %d bytes\n", (unsigned long)writer.length, PROBE_BYTES);
    if (writer.unfit || writer.length != PROBE_BYTES) {
        return 1;
    }
    quorate_write_begin(&writer, common, sizeof common);
    device_common_write(&(struct device_common){.unit = "\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2"}, &writer);
    printf("%lu of %d bytes in common\n", (unsigned long)writer.length, DEVICE_COMMON_BYTES);
    return writer.unfit || writer.length != DEVICE_COMMON_BYTES;
}
