/* SPDX-License-Identifier: Apache-2.0 */
#include "flash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t random_of(uint32_t *state)
{
    uint32_t x = *state != 0 ? *state : 1;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "flash: %s\n", what);
        abort();
    }
}

static int flash_read(void *context, uint32_t address, void *bytes, uint32_t length)
{
    struct flash *flash = context;

    must(address <= FLASH_BYTES_MAX && length <= FLASH_BYTES_MAX - address, "read beyond its end");
    flash->reads++;
    if (flash->is_off || (flash->read_failures != 0 && random_of(&flash->random) % flash->read_failures == 0)) {
        return -1;
    }
    memcpy(bytes, flash->bytes + address, length);
    return 0;
}

/* One more byte; at the last one power goes off, and what it leaves is anything. */
static bool has_power(struct flash *flash)
{
    if (flash->power == FLASH_FOR_EVER) {
        flash->written++;
        return true;
    }
    if (flash->power == 0) {
        flash->is_off = true;
        return false;
    }
    flash->power--;
    flash->written++;
    return true;
}

static int flash_program(void *context, uint32_t address, const void *bytes, uint32_t length)
{
    struct flash *flash = context;
    const uint8_t *from = bytes;
    uint32_t i;

    must(address <= FLASH_BYTES_MAX && length <= FLASH_BYTES_MAX - address, "programmed beyond its end");
    must(address % flash->program_bytes == 0 && length % flash->program_bytes == 0, "programmed off its units");
    must(length <= 32 && (uintptr_t)bytes % sizeof(uint64_t) == 0, "programmed from where no word may lie");
    for (i = 0; i < length && !flash->is_off; i++) {
        must(flash->bytes[address + i] == 0xff, "programmed twice");
        if (has_power(flash)) {
            flash->bytes[address + i] = from[i];
        } else {
            flash->bytes[address + i] = (uint8_t)(from[i] | random_of(&flash->random));
        }
    }
    return flash->is_off || (flash->denies_in > 0 && --flash->denies_in == 0) ? -1 : 0;
}

static int flash_erase(void *context, uint32_t address)
{
    struct flash *flash = context;
    uint32_t i;

    must(address % flash->sector_bytes == 0, "erased off its sectors");
    if (flash->erase_failures > 0) {
        flash->erase_failures--;
        return -1;
    }
    flash->erases[address / flash->sector_bytes]++;
    for (i = 0; i < flash->sector_bytes && !flash->is_off; i++) {
        if (has_power(flash)) {
            flash->bytes[address + i] = 0xff;
        } else {
            flash->bytes[address + i] = (uint8_t)random_of(&flash->random);
        }
    }
    return flash->is_off ? -1 : 0;
}

void flash_begin(struct flash *flash, uint32_t sector_bytes, uint32_t program_bytes, uint32_t seed, bool is_blank)
{
    uint32_t i;

    memset(flash, 0, sizeof *flash);
    flash->sector_bytes = sector_bytes;
    flash->program_bytes = program_bytes;
    flash->random = seed;
    flash->power = FLASH_FOR_EVER;
    for (i = 0; i < FLASH_BYTES_MAX; i++) {
        flash->bytes[i] = is_blank ? 0xff : (uint8_t)random_of(&flash->random);
    }
}

struct quorate_storage flash_storage(struct flash *flash, uint32_t sectors)
{
    struct quorate_storage storage = {flash,   flash_read, flash_program, flash_erase, flash->sector_bytes,
                                      sectors, flash->program_bytes};

    must(sectors * flash->sector_bytes <= FLASH_BYTES_MAX, "too large");
    return storage;
}

void flash_on(struct flash *flash, uint64_t power)
{
    flash->is_off = false;
    flash->power = power;
}
