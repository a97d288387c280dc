/* A disk that fails, without being root: loaded before the C library, it lets calls that change files below one folder
 * fail for as long as a control file exists.
 *
 * QUORATE_FAULT_ROOT     the folder (absolute)
 * QUORATE_FAULT_CONTROL  the control file: "ERROR AFTER WHAT", where ERROR is ENOSPC, EROFS or EIO, AFTER the number of
 *                        calls that still work, and WHAT is `all`, `sync` (fsync and fdatasync alone) or a part of a
 *                        path: then only files whose path has that part count and fail.
 *
 * The first write that fails for want of space writes half of what it was given, as a full disk does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int active, code, half;
static long left;
static char what[64];

static int number(const char *name) {
    if (!strcmp(name, "EROFS")) return EROFS;
    if (!strcmp(name, "EIO")) return EIO;
    return ENOSPC;
}

/* Whether the control file stands; read once each time it appears. Called with the lock held. */
static int standing(void) {
    const char *control = getenv("QUORATE_FAULT_CONTROL");
    if (!control || access(control, F_OK)) {
        active = 0;
        return 0;
    }
    if (active) return 1;
    char text[128] = "", error[16] = "";
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = real_open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0 || sscanf(text, "%15s %ld %63s", error, &left, what) != 3) return 0;
    code = number(error);
    active = half = 1;
    return 1;
}

static int below(const char *path) {
    const char *root = getenv("QUORATE_FAULT_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The error for a call on `path`, 0 if it may go on; `torn` says that half of it is to be done. */
static int refused(const char *path, int is_sync, int *torn) {
    int error = 0;
    pthread_mutex_lock(&lock);
    if (below(path) && standing()) {
        int counts = !strcmp(what, "all") || (!strcmp(what, "sync") ? is_sync : strstr(path, what) != NULL);
        /* A full disk loses nothing that it has taken: what is synced was written. */
        if (code == ENOSPC && is_sync) counts = 0;
        if (counts && left-- <= 0) {
            error = code;
            if (torn && half && code == ENOSPC) *torn = 1;
            half = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int refused_at(int folder, const char *path, int *torn) {
    char full[2 * PATH_MAX], from[64];
    if (path[0] == '/') return refused(path, 0, torn);
    if (folder == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX)) return 0;
    } else {
        snprintf(from, sizeof from, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(from, full, PATH_MAX - 1);
        if (length < 0) return 0;
        full[length] = 0;
    }
    size_t length = strlen(full);
    snprintf(full + length, sizeof full - length, "/%s", path);
    return refused(full, 0, torn);
}

static int refused_file(int file, int is_sync, int *torn) {
    const char *control = getenv("QUORATE_FAULT_CONTROL");
    if (!control || access(control, F_OK)) return 0;
    char from[64], full[PATH_MAX];
    snprintf(from, sizeof from, "/proc/self/fd/%d", file);
    ssize_t length = readlink(from, full, sizeof full - 1);
    if (length < 0) return 0;
    full[length] = 0;
    return refused(full, is_sync, torn);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL(error) do { int why = (error); if (why) { errno = why; return -1; } } while (0)

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    int saved = errno, torn = 0, error = refused_file(file, 0, &torn);
    if (error && !(torn && length > 1)) { errno = error; return -1; }
    errno = saved;
    return real(file, bytes, error ? length / 2 : length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    FAIL(refused_file(file, 0, NULL));
    return real(file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    REAL(pwrite);
    FAIL(refused_file(file, 0, NULL));
    return real(file, bytes, length, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    FAIL(refused_file(file, 0, NULL));
    return real(file, parts, count);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *into, size_t length, unsigned flags) {
    REAL(copy_file_range);
    FAIL(refused_file(to, 0, NULL));
    return real(from, at, to, into, length, flags);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t length) {
    REAL(sendfile64);
    FAIL(refused_file(to, 0, NULL));
    return real(to, from, at, length);
}

/* Making a file shorter needs no room. */
static int grows(int file, off64_t length) {
    struct stat now;
    return fstat(file, &now) || length > now.st_size;
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    if (grows(file, length) || code == EROFS) FAIL(refused_file(file, 0, NULL));
    return real(file, length);
}

int ftruncate(int file, off_t length) {
    REAL(ftruncate);
    if (grows(file, length) || code == EROFS) FAIL(refused_file(file, 0, NULL));
    return real(file, length);
}

int fallocate64(int file, int mode, off64_t at, off64_t length) {
    REAL(fallocate64);
    FAIL(refused_file(file, 0, NULL));
    return real(file, mode, at, length);
}

int posix_fallocate64(int file, off64_t at, off64_t length) {
    REAL(posix_fallocate64);
    int error = refused_file(file, 0, NULL);
    return error ? error : real(file, at, length);
}

int fsync(int file) {
    REAL(fsync);
    FAIL(refused_file(file, 1, NULL));
    return real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    FAIL(refused_file(file, 1, NULL));
    return real(file);
}

static int makes(const char *path, int flags) {
    if (flags & O_CREAT) return access(path, F_OK) != 0;
    return 0;
}

#define OPEN(name, parameters, folder, arguments)                                                  \
    int name parameters {                                                                          \
        REAL(name);                                                                                \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
        int writes = code == EROFS && (flags & O_ACCMODE) != O_RDONLY;                             \
        if (makes(path, flags) || writes) FAIL(refused_at(folder, path, NULL));                    \
        return real arguments;                                                                     \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    FAIL(refused_at(AT_FDCWD, path, NULL));
    return real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    FAIL(refused_at(AT_FDCWD, to, NULL));
    return real(from, to);
}

int link(const char *from, const char *to) {
    REAL(link);
    FAIL(refused_at(AT_FDCWD, to, NULL));
    return real(from, to);
}

int linkat(int old, const char *from, int new, const char *to, int flags) {
    REAL(linkat);
    FAIL(refused_at(new, to, NULL));
    return real(old, from, new, to, flags);
}

int unlink(const char *path) {
    REAL(unlink);
    if (code == EROFS) FAIL(refused_at(AT_FDCWD, path, NULL));
    return real(path);
}
