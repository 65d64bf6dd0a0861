/* The WASI functions that the C library refers to, defined here so that the module has no imports. The clock is the batch's
   `now`; there are no files, no environment and no random numbers of the system. */
#include <stdint.h>
#include "guest.h"

#define WASI(name) __imported_wasi_snapshot_preview1_##name
#define BADF 8
#define NOSYS 52

int32_t WASI(clock_time_get)(int32_t id, int64_t precision, int32_t out);
int32_t WASI(fd_write)(int32_t fd, int32_t iovs, int32_t count, int32_t out);
int32_t WASI(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t out);
int32_t WASI(fd_fdstat_get)(int32_t fd, int32_t out);
int32_t WASI(fd_close)(int32_t fd);
int32_t WASI(random_get)(int32_t out, int32_t size);
int32_t WASI(environ_get)(int32_t a, int32_t b);
int32_t WASI(environ_sizes_get)(int32_t a, int32_t b);
_Noreturn void WASI(proc_exit)(int32_t code);

int32_t WASI(clock_time_get)(int32_t id, int64_t precision, int32_t out) {
    uint64_t milliseconds = (uint64_t)guest_now; /* a double has too few digits for nanoseconds since the epoch */
    uint64_t nanoseconds = milliseconds * 1000000u + (uint64_t)((guest_now - (double)milliseconds) * 1e6);
    memcpy((void *)(uintptr_t)out, &nanoseconds, sizeof nanoseconds);
    return 0;
}
int32_t WASI(fd_write)(int32_t fd, int32_t iovs, int32_t count, int32_t out) { return BADF; }
int32_t WASI(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t out) { return BADF; }
int32_t WASI(fd_fdstat_get)(int32_t fd, int32_t out) { return BADF; }
int32_t WASI(fd_close)(int32_t fd) { return BADF; }
/* The toolchain's own close() would add an import. */
int close(int fd);
int close(int fd) { return -1; }
int32_t WASI(random_get)(int32_t out, int32_t size) { return NOSYS; }
int32_t WASI(environ_get)(int32_t a, int32_t b) { return 0; }
int32_t WASI(environ_sizes_get)(int32_t a, int32_t b) {
    uint32_t none = 0;
    memcpy((void *)(uintptr_t)a, &none, sizeof none);
    memcpy((void *)(uintptr_t)b, &none, sizeof none);
    return 0;
}
_Noreturn void WASI(proc_exit)(int32_t code) { __builtin_trap(); }
