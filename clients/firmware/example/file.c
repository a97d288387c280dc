/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L

#include "file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR_BYTES = 4096, SECTORS = 16 };

static int file_read(void *context, uint32_t address, void *bytes, uint32_t length)
{
    const struct file_storage *memory = context;
    return pread(memory->file, bytes, length, (off_t)address) == (ssize_t)length ? 0 : -1;
}

static int file_program(void *context, uint32_t address, const void *bytes, uint32_t length)
{
    const struct file_storage *memory = context;
    return pwrite(memory->file, bytes, length, (off_t)address) == (ssize_t)length ? 0 : -1;
}

static int file_erase(void *context, uint32_t address)
{
    char erased[SECTOR_BYTES];

    memset(erased, 0xff, sizeof erased);
    return file_program(context, address, erased, sizeof erased);
}

bool file_storage_open(struct file_storage *memory, const char *path, struct quorate_storage *storage)
{
    struct flock whole;

    memset(&whole, 0, sizeof whole);
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    storage->context = memory;
    storage->read = file_read;
    storage->program = file_program;
    storage->erase = file_erase;
    storage->sector_bytes = SECTOR_BYTES;
    storage->sectors = SECTORS;
    storage->program_bytes = 1;
    memory->file = open(path, O_RDWR | O_CREAT | O_SYNC, 0600);
    if (memory->file < 0) {
        return false;
    }
    /* Two processes that append would write over each other. */
    if (fcntl(memory->file, F_SETLK, &whole) != 0 || ftruncate(memory->file, (off_t)SECTOR_BYTES * SECTORS) != 0) {
        close(memory->file);
        return false;
    }
    return true;
}
