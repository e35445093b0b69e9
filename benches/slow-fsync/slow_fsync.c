/* Adds SUBLEDGER_FSYNC_EXTRA_US microseconds to every fsync of the process that preloads it.
 *
 * A disk in a data centre takes about a millisecond longer for a durable write than this machine may do. The benchmark
 * preloads this into PostgreSQL, or into the program that uses SQLite, and into nothing else. The real call is made all
 * the same, after the wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

static void wait_extra(void) {
    static long extra = -1; /* read once; a race reads the same value twice */
    if (extra < 0) {
        const char *text = getenv("SUBLEDGER_FSYNC_EXTRA_US");
        extra = text ? strtol(text, NULL, 10) : 0;
        if (extra < 0) {
            extra = 0;
        }
    }
    if (extra > 0) {
        struct timespec left = {extra / 1000000, (extra % 1000000) * 1000};
        while (nanosleep(&left, &left) == -1 && errno == EINTR) {
        }
    }
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) {
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    }
    wait_extra();
    return real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) {
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    }
    wait_extra();
    return real(file);
}

int sync_file_range(int file, off64_t offset, off64_t bytes, unsigned int flags) {
    static int (*real)(int, off64_t, off64_t, unsigned int);
    if (!real) {
        real = (int (*)(int, off64_t, off64_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    }
    wait_extra();
    return real(file, offset, bytes, flags);
}
