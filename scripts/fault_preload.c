/* Lets the n-th write, sync, truncate or unlink below a folder fail, or ends the process there.

   Compiled and preloaded by campaign_faults.py, which arms it through ctypes:
   cc -shared -fPIC -O1 -o fault.so fault_preload.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long wanted, done;
static int error_number, lasting, deadly;

/* The `at`-th operation fails with `error`, with `last` all after it, too; with `kill` the process ends there.
   0 only counts. */
void fault_arm(const char *below, long at, int error, int last, int kill)
{
    snprintf(folder, sizeof folder, "%s", below);
    wanted = at;
    error_number = error;
    lasting = last;
    deadly = kill;
    done = 0;
}

long fault_count(void) { return done; }

static int is_below(const char *path)
{
    size_t length = strlen(folder);
    return length && strncmp(path, folder, length) == 0;
}

static int due(const char *path)
{
    if (!is_below(path))
        return 0;
    done++;
    return wanted && (done == wanted || (lasting && done > wanted));
}

static int due_at(int descriptor)
{
    char link[64], path[PATH_MAX];
    int before = errno;
    ssize_t length;
    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return due(path);
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

/* A kill comes in the middle of a write: half of the bytes are on the disk. */
#define WRITING(name, half)                     \
    if (due_at(descriptor)) {                   \
        if (deadly) {                           \
            half;                               \
            raise(SIGKILL);                     \
        }                                       \
        errno = error_number;                   \
        return -1;                              \
    }
#define CHANGING(condition)                     \
    if (condition) {                            \
        if (deadly)                             \
            raise(SIGKILL);                     \
        errno = error_number;                   \
        return -1;                              \
    }

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    WRITING("write", (void)!REAL(ssize_t, "write", int, const void *, size_t)(descriptor, bytes, count / 2))
    return REAL(ssize_t, "write", int, const void *, size_t)(descriptor, bytes, count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t at)
{
    WRITING("pwrite", (void)!REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(descriptor, bytes, count / 2, at))
    return REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(descriptor, bytes, count, at);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t at)
{
    WRITING("pwrite64", (void)!REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(descriptor, bytes, count / 2, at))
    return REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(descriptor, bytes, count, at);
}

int fsync(int descriptor)
{
    CHANGING(due_at(descriptor))
    return REAL(int, "fsync", int)(descriptor);
}

int fdatasync(int descriptor)
{
    CHANGING(due_at(descriptor))
    return REAL(int, "fdatasync", int)(descriptor);
}

int ftruncate(int descriptor, off_t length)
{
    CHANGING(due_at(descriptor))
    return REAL(int, "ftruncate", int, off_t)(descriptor, length);
}

int ftruncate64(int descriptor, off64_t length)
{
    CHANGING(due_at(descriptor))
    return REAL(int, "ftruncate64", int, off64_t)(descriptor, length);
}

int unlink(const char *path)
{
    CHANGING(folder[0] && due(path))
    return REAL(int, "unlink", const char *)(path);
}
