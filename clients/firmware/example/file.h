/* SPDX-License-Identifier: Apache-2.0
 *
 * A file as storage on a POSIX system: each record is on disk before the function that wrote it returns.
 */
#ifndef FILE_H
#define FILE_H

#include "quorate.h"

struct file_storage {
    int file;
};

/* Opens or makes the file, for its owner alone; false with `errno` if that fails, or if another process has it open. */
bool file_storage_open(struct file_storage *memory, const char *path, struct quorate_storage *storage);

#endif
