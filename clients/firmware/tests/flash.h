/* SPDX-License-Identifier: Apache-2.0
 *
 * Flash that behaves like flash: what is programmed must be erased and aligned, or the test ends; and that loses power
 * after a given number of bytes, in the middle of whatever it is doing.
 */
#ifndef FLASH_H
#define FLASH_H

#include "quorate.h"

enum { FLASH_BYTES_MAX = 65536 };
#define FLASH_FOR_EVER 0xffffffffffffffffu

struct flash {
    uint8_t bytes[FLASH_BYTES_MAX];
    uint64_t power;        /* bytes until it goes off */
    uint64_t written;      /* bytes since the beginning */
    uint32_t sector_bytes;
    uint32_t program_bytes;
    uint32_t erases[256];
    uint32_t random;
    uint32_t erase_failures; /* so many erasures fail from now on */
    uint32_t read_failures;  /* one of so many reads fails; 0: none */
    uint32_t reads;
    uint32_t denies_in;      /* so many programmings from now, one does what it should and says that it failed */
    bool is_off;
};

/* Fills it with what new flash holds, or with random bytes. */
void flash_begin(struct flash *flash, uint32_t sector_bytes, uint32_t program_bytes, uint32_t seed, bool is_blank);
struct quorate_storage flash_storage(struct flash *flash, uint32_t sectors);
/* Power comes back, for so many bytes. */
void flash_on(struct flash *flash, uint64_t power);
uint32_t random_of(uint32_t *state);

#endif
