/* Stands between a process and its C library (LD_PRELOAD): lets calls on files of one folder fail or wait, moves the
 * wall clock, and writes down what was written and synced. bench/faults/shim.py builds it and holds its controls.
 *
 * Calls that the C library makes by itself, and io_uring, are not seen. Sockets are let through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, RENAME = 4, STAT = 8, OPEN = 16, UNLINK = 32, TRUNCATE = 64, READ = 128, MKDIR = 256 };
enum { JOURNAL = 1, SPOOL = 2, RECORDINGS = 4, CATALOG = 8, OTHER = 16 };
#define RULES 8
#define FDS 65536

struct rule { /* as in shim.py */
  int64_t active, ops, classes, error, first, times, delay_us, seen, hit;
};
struct control {
  int64_t clock_offset_us, trace;
  struct rule rules[RULES];
};

static struct control *control;
static struct control nothing;
static char root[4096];
static size_t root_length;
static int trace_fd = -1;
static uint8_t class_of_fd[FDS];

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("FAULT_SHIM_CONTROL"), *folder = getenv("FAULT_SHIM_ROOT"), *trace = getenv("FAULT_SHIM_TRACE");
  control = &nothing;
  if (!file || !folder) return;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (at == MAP_FAILED) return;
  root_length = snprintf(root, sizeof root, "%s/", folder);
  if (trace) trace_fd = syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  control = at;
}

static int class_of(const char *path) {
  if (!root_length || !path || strncmp(path, root, root_length)) return 0;
  const char *rest = path + root_length;
  if (!strncmp(rest, "journal", 7)) return JOURNAL;
  if (!strncmp(rest, "spool", 5)) return SPOOL;
  if (!strncmp(rest, "recordings", 10)) return RECORDINGS;
  if (!strncmp(rest, "catalog.db", 10)) return CATALOG;
  return OTHER;
}

static int of_fd(int fd) { return fd >= 0 && fd < FDS ? class_of_fd[fd] : 0; }

/* Wait as the rules say; return the error that the call is to have, or 0. */
static int fault(int op, int class) {
  if (!class || !control) return 0;
  for (int i = 0; i < RULES; i++) {
    struct rule *rule = &control->rules[i];
    if (!rule->active || !(rule->ops & op) || !(rule->classes & class)) continue;
    int64_t number = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
    if (number < rule->first || (rule->times >= 0 && number >= rule->first + rule->times)) continue;
    __atomic_add_fetch(&rule->hit, 1, __ATOMIC_SEQ_CST);
    for (int64_t left = rule->delay_us; left > 0 && rule->active; left -= 10000) usleep(left > 10000 ? 10000 : left);
    if (rule->error) return rule->error;
  }
  return 0;
}

static void note(char what, int fd, int64_t offset, int64_t length) {
  if (trace_fd < 0 || !control->trace) return;
  int saved = errno;
  struct statx found = {0};
  if (fd >= 0) syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &found);
  char line[128];
  int size = snprintf(line, sizeof line, "%c %ld %llu %lld %lld\n", what, (long)syscall(SYS_gettid),
                      (unsigned long long)found.stx_ino, (long long)offset, (long long)length);
  syscall(SYS_write, trace_fd, line, size);
  errno = saved;
}

#define REAL(name, type, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);
#define FAIL(op, class) \
  do { int wrong = fault(op, class); if (wrong) { errno = wrong; return -1; } } while (0)

static int opened(int fd, int class) {
  if (fd >= 0 && fd < FDS) class_of_fd[fd] = class;
  return fd;
}

static int open_as(const char *path, int flags, mode_t mode) {
  int class = class_of(path);
  FAIL(OPEN, class);
  REAL("open64", int, const char *, int, ...)
  return opened(real(path, flags | O_LARGEFILE, mode), class);
}

#define MODE mode_t mode = 0; va_list more; va_start(more, flags); \
  if (flags & (O_CREAT | __O_TMPFILE)) mode = va_arg(more, mode_t); va_end(more);
int open(const char *path, int flags, ...) { MODE return open_as(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return open_as(path, flags, mode); }
int __open_2(const char *path, int flags) { return open_as(path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_as(path, flags, 0); }
static int openat_as(int folder, const char *path, int flags, mode_t mode) {
  int class = class_of(path);
  FAIL(OPEN, class);
  REAL("openat64", int, int, const char *, int, ...)
  return opened(real(folder, path, flags | O_LARGEFILE, mode), class);
}
int openat(int folder, const char *path, int flags, ...) { MODE return openat_as(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return openat_as(folder, path, flags, mode); }

int close(int fd) {
  REAL("close", int, int)
  if (fd >= 0 && fd < FDS) class_of_fd[fd] = 0;
  return real(fd);
}

static ssize_t wrote(int fd, ssize_t taken, off64_t offset) {
  if (taken > 0) note('W', fd, offset, taken);
  return taken;
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL("write", ssize_t, int, const void *, size_t)
  int class = of_fd(fd);
  if (!class) return real(fd, data, size);
  FAIL(WRITE, class);
  off64_t offset = lseek64(fd, 0, SEEK_CUR);
  return wrote(fd, real(fd, data, size), offset);
}

static ssize_t pwrite_as(int fd, const void *data, size_t size, off64_t offset) {
  REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t)
  int class = of_fd(fd);
  if (!class) return real(fd, data, size, offset);
  FAIL(WRITE, class);
  return wrote(fd, real(fd, data, size, offset), offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite_as(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return pwrite_as(fd, data, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL("writev", ssize_t, int, const struct iovec *, int)
  int class = of_fd(fd);
  if (!class) return real(fd, parts, count);
  FAIL(WRITE, class);
  off64_t offset = lseek64(fd, 0, SEEK_CUR);
  return wrote(fd, real(fd, parts, count), offset);
}

ssize_t read(int fd, void *data, size_t size) {
  REAL("read", ssize_t, int, void *, size_t)
  FAIL(READ, of_fd(fd));
  return real(fd, data, size);
}

static ssize_t pread_as(int fd, void *data, size_t size, off64_t offset) {
  REAL("pread64", ssize_t, int, void *, size_t, off64_t)
  FAIL(READ, of_fd(fd));
  return real(fd, data, size, offset);
}
ssize_t pread(int fd, void *data, size_t size, off_t offset) { return pread_as(fd, data, size, offset); }
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { return pread_as(fd, data, size, offset); }

static int sync_as(int fd, int (*real)(int), char good, char bad) {
  int class = of_fd(fd);
  if (!class) return real(fd);
  note('B', fd, 0, 0);
  int wrong = fault(SYNC, class);
  if (wrong) {
    note(bad, fd, 0, 0);
    errno = wrong;
    return -1;
  }
  int done = real(fd);
  note(done ? bad : good, fd, 0, 0);
  return done;
}
int fsync(int fd) { REAL("fsync", int, int) return sync_as(fd, real, 'S', 'F'); }
int fdatasync(int fd) { REAL("fdatasync", int, int) return sync_as(fd, real, 'S', 'F'); }
int syncfs(int fd) { REAL("syncfs", int, int) return sync_as(fd, real, 'A', 'X'); }

int rename(const char *from, const char *to) {
  REAL("rename", int, const char *, const char *)
  FAIL(RENAME, class_of(to) ? class_of(to) : class_of(from));
  return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
  REAL("renameat", int, int, const char *, int, const char *)
  FAIL(RENAME, class_of(to) ? class_of(to) : class_of(from));
  return real(a, from, b, to);
}
int unlink(const char *path) {
  REAL("unlink", int, const char *)
  FAIL(UNLINK, class_of(path));
  return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
  REAL("unlinkat", int, int, const char *, int)
  FAIL(UNLINK, class_of(path));
  return real(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) {
  REAL("mkdir", int, const char *, mode_t)
  FAIL(MKDIR, class_of(path));
  return real(path, mode);
}
int ftruncate64(int fd, off64_t length) {
  REAL("ftruncate64", int, int, off64_t)
  FAIL(TRUNCATE, of_fd(fd));
  note('T', fd, length, 0);
  return real(fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

#define STATS(name) \
  int name(const char *path, void *found) { \
    REAL(#name, int, const char *, void *) \
    FAIL(STAT, class_of(path)); \
    return real(path, found); \
  }
#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"
STATS(stat) STATS(stat64) STATS(lstat) STATS(lstat64)
#define STATATS(name) \
  int name(int folder, const char *path, void *found, int flags) { \
    REAL(#name, int, int, const char *, void *, int) \
    FAIL(STAT, class_of(path)); \
    return real(folder, path, found, flags); \
  }
STATATS(fstatat) STATATS(fstatat64)

int clock_gettime(clockid_t which, struct timespec *now) {
  REAL("clock_gettime", int, clockid_t, struct timespec *)
  int done = real(which, now);
  if (!done && control && control->clock_offset_us && which == CLOCK_REALTIME) {
    int64_t us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000 + control->clock_offset_us;
    now->tv_sec = us / 1000000;
    now->tv_nsec = us % 1000000 * 1000;
  }
  return done;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  int done = clock_gettime(CLOCK_REALTIME, &exact);
  (void)zone;
  if (!done) now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
  return done;
}
time_t time(time_t *now) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (now) *now = exact.tv_sec;
  return exact.tv_sec;
}
