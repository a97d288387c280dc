/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without libFuzzer: seeds from files, changed at random.
 *
 *     fuzz_answer SEED RUNS FILE…
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BYTES_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t state;

static uint32_t below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % bound;
}

static size_t change(uint8_t *data, size_t size)
{
    uint32_t changes = below(8);
    uint32_t i;

    for (i = 0; i < changes && size > 0; i++) {
        size_t at = below((uint32_t)size);
        switch (below(4)) {
        case 0:
            data[at] = (uint8_t)below(256);
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << below(8));
            break;
        case 2:
            size = at + 1;
            break;
        default:
            if (size < BYTES_MAX) {
                data[size++] = data[at];
            }
        }
    }
    return size;
}

int main(int count, char **arguments)
{
    static uint8_t data[BYTES_MAX];
    uint32_t runs = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 10000;
    uint32_t run, i;

    state = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) | 1u : 1u;
    for (run = 0; run < runs; run++) {
        size_t size = 0;
        FILE *file = count > 3 ? fopen(arguments[3 + below((uint32_t)count - 3)], "rb") : NULL;
        if (file != NULL) {
            size = fread(data, 1, sizeof data, file);
            fclose(file);
        } else {
            size = below(256);
            for (i = 0; i < size; i++) {
                data[i] = (uint8_t)below(256);
            }
        }
        LLVMFuzzerTestOneInput(data, change(data, size));
    }
    printf("%u runs\n", runs);
    return 0;
}
