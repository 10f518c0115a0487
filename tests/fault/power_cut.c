#include "tests/fault/power_cut.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/base/file.h"

#define FILES_MAX  64
#define SECTOR     512
#define PATH_BYTES 4096

enum kind { WRITE, SYNC, DIR_SYNC };

struct event {
	enum kind kind;
	unsigned file;
	bool durable; /* a write that is on disk when it returns (O_DSYNC) */
	size_t begun; /* a sync: the moment at which it began */
	off_t at;
	size_t len;
	unsigned char *data;
};

struct file {
	ino_t inode;
	char name[256];      /* below the directory */
	unsigned char *base; /* as it was when recording began; NULL: it was made since */
	size_t base_len;
	size_t made; /* the moment; 0: it was there */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static bool records;
static char root[PATH_BYTES];
static struct file files[FILES_MAX];
static unsigned file_count;
static struct event *events;
static size_t event_count, event_room;

static _Noreturn void
fail(const char *what, const char *which)
{
	fprintf(stderr, "power_cut: %s %s\n", what, which);
	abort();
}

/* The path of a descriptor below the directory, or NULL. */
static const char *
name_of(int fd, char path[PATH_BYTES])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_BYTES - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	if (strncmp(path, root, strlen(root)) != 0 || path[strlen(root)] != '/')
		return NULL;
	return path + strlen(root) + 1;
}

/* What LMDB and init lock is of no meaning after the machine has gone down. */
static bool
is_lock(const char *name)
{
	const char *base = strrchr(name, '/');

	base = base != NULL ? base + 1 : name;
	return strcmp(base, "lock.mdb") == 0 || strcmp(base, "lock") == 0;
}

/* With the lock held. */
static unsigned
file_of(ino_t inode, const char *name)
{
	for (unsigned i = 0; i < file_count; i++)
		if (files[i].inode == inode)
			return i;
	if (file_count == FILES_MAX || strlen(name) >= sizeof(files[0].name) || strstr(name, "(deleted)") != NULL)
		fail("cannot record", name);
	files[file_count] = (struct file){ .inode = inode, .made = event_count + 1 };
	snprintf(files[file_count].name, sizeof(files[0].name), "%s", name);
	return file_count++;
}

static struct event *
add(struct event e)
{
	if (event_count == event_room) {
		event_room = event_room == 0 ? 4096 : 2 * event_room;
		events = realloc(events, event_room * sizeof(*events));
		if (events == NULL)
			fail("out of", "memory");
	}
	events[event_count] = e;
	return &events[event_count++];
}

/* A write that was done. */
static void
note_write(int fd, const struct iovec *iov, int count, off_t at, size_t len)
{
	char path[PATH_BYTES];
	const char *name;
	struct stat st;
	struct event e = { .kind = WRITE, .at = at, .len = len };
	size_t used = 0;

	if (!__atomic_load_n(&records, __ATOMIC_ACQUIRE) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (name = name_of(fd, path)) == NULL || is_lock(name))
		return;
	e.durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
	e.data = malloc(len > 0 ? len : 1);
	if (e.data == NULL)
		fail("out of", "memory");
	for (int i = 0; i < count && used < len; i++) {
		size_t n = iov[i].iov_len < len - used ? iov[i].iov_len : len - used;

		memcpy(e.data + used, iov[i].iov_base, n);
		used += n;
	}
	pthread_mutex_lock(&lock);
	e.file = file_of(st.st_ino, name);
	add(e);
	pthread_mutex_unlock(&lock);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	ssize_t n = syscall(SYS_pwrite64, fd, data, len, at);

	if (n >= 0)
		note_write(fd, &(struct iovec){ (void *)(uintptr_t)data, len }, 1, at, (size_t)n);
	return n;
}

ssize_t
write(int fd, const void *data, size_t len)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n = syscall(SYS_write, fd, data, len);

	if (n >= 0 && at >= 0)
		note_write(fd, &(struct iovec){ (void *)(uintptr_t)data, len }, 1, at, (size_t)n);
	return n;
}

ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n = syscall(SYS_writev, fd, iov, count);

	if (n >= 0 && at >= 0)
		note_write(fd, iov, count, at, (size_t)n);
	return n;
}

/* The disk of this process is a story: it takes its time while it is told, and none afterwards. */
static int
sync_file(int fd)
{
	char path[PATH_BYTES];
	const char *name;
	struct event e = { .kind = SYNC };
	struct stat st;

	if (!__atomic_load_n(&records, __ATOMIC_ACQUIRE) || fstat(fd, &st) < 0)
		return 0;
	name = name_of(fd, path);
	if (name == NULL || is_lock(name))
		return 0;
	pthread_mutex_lock(&lock);
	e.begun = event_count;
	pthread_mutex_unlock(&lock);
	usleep(3000);
	pthread_mutex_lock(&lock);
	if (S_ISDIR(st.st_mode))
		e.kind = DIR_SYNC;
	else
		e.file = file_of(st.st_ino, name);
	add(e);
	pthread_mutex_unlock(&lock);
	return 0;
}

int
fsync(int fd)
{
	return sync_file(fd);
}

int
fdatasync(int fd)
{
	return sync_file(fd);
}

static int
take_base(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	struct file *f = &files[file_count];
	int fd;

	(void)where;
	if (kind != FTW_F || is_lock(path) || !S_ISREG(st->st_mode))
		return 0;
	if (file_count == FILES_MAX || strlen(path + strlen(root) + 1) >= sizeof(f->name))
		fail("cannot record", path);
	*f = (struct file){ .inode = st->st_ino, .base_len = (size_t)st->st_size };
	snprintf(f->name, sizeof(f->name), "%s", path + strlen(root) + 1);
	f->base = malloc(f->base_len + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->base == NULL || fd < 0 || read(fd, f->base, f->base_len) != (ssize_t)f->base_len)
		fail("cannot read", path);
	close(fd);
	file_count++;
	return 0;
}

void
power_record(const char *dir)
{
	power_release();
	if (realpath(dir, root) == NULL || nftw(root, take_base, 16, FTW_PHYS) != 0)
		fail("cannot record", dir);
	__atomic_store_n(&records, true, __ATOMIC_RELEASE);
}

void
power_stop(void)
{
	char path[2 * PATH_BYTES];
	struct stat st;

	__atomic_store_n(&records, false, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < file_count; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, files[i].name);
		if (stat(path, &st) < 0 || st.st_ino != files[i].inode)
			fail("renamed or removed meanwhile:", path);
	}
}

void
power_release(void)
{
	for (size_t i = 0; i < event_count; i++)
		free(events[i].data);
	for (unsigned i = 0; i < file_count; i++)
		free(files[i].base);
	free(events);
	events = NULL;
	event_count = event_room = 0;
	file_count = 0;
}

size_t
power_moment(void)
{
	size_t now;

	pthread_mutex_lock(&lock);
	now = event_count;
	pthread_mutex_unlock(&lock);
	return now;
}

/* Numbers that a seed repeats (splitmix64). */
static uint64_t
draw(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* All that was written to the file before this moment is on disk at `moment`. */
static size_t
synced(unsigned file, size_t moment)
{
	size_t upto = 0;

	for (size_t i = 0; i < moment; i++)
		if (events[i].kind == SYNC && events[i].file == file && events[i].begun > upto)
			upto = events[i].begun;
	return upto;
}

size_t
power_synced(const char *name, size_t moment)
{
	for (unsigned i = 0; i < file_count; i++)
		if (strcmp(files[i].name, name) == 0)
			return synced(i, moment);
	return 0;
}

/* Whether the file's name is on disk. */
static bool
is_named(const struct file *f, size_t moment, uint64_t *seed)
{
	if (f->made == 0)
		return true;
	if (f->made > moment)
		return false;
	for (size_t i = 0; i < moment; i++)
		if (events[i].kind == DIR_SYNC && events[i].begun >= f->made)
			return true;
	return draw(seed) % 2 == 0;
}

/* A file's bytes, as they are put together. */
struct image {
	unsigned char *bytes;
	size_t len;
};

static void
put(struct image *image, const unsigned char *data, size_t len, off_t at)
{
	memcpy(image->bytes + at, data, len);
	if ((size_t)at + len > image->len)
		image->len = (size_t)at + len;
}

/* Some of the sectors of a write. */
static void
put_some(struct image *image, const struct event *e, unsigned percent, uint64_t *seed)
{
	for (size_t from = 0, len; from < e->len; from += len) {
		off_t at = e->at + (off_t)from;

		len = SECTOR - (size_t)at % SECTOR;
		if (len > e->len - from)
			len = e->len - from;
		if (draw(seed) % 100 < percent)
			put(image, e->data + from, len, at);
	}
}

static void
put_all(unsigned number, size_t moment, uint64_t *seed, struct image *image)
{
	static const unsigned percents[] = { 0, 3, 50, 97, 100 };
	unsigned percent = percents[draw(seed) % 5];
	size_t upto = synced(number, moment);

	if (files[number].base_len > 0)
		put(image, files[number].base, files[number].base_len, 0);
	for (size_t i = 0; i < moment; i++) {
		const struct event *e = &events[i];

		if (e->kind != WRITE || e->file != number)
			continue;
		if (e->durable || i < upto)
			put(image, e->data, e->len, e->at);
		else
			put_some(image, e, percent, seed);
	}
}

static void
make_file(unsigned number, size_t moment, uint64_t *seed, const char *to)
{
	const struct file *f = &files[number];
	struct image image = { .len = f->base_len };
	size_t room = f->base_len + 1;
	char path[2 * PATH_BYTES];

	if (!is_named(f, moment, seed))
		return;
	for (size_t i = 0; i < moment; i++)
		if (events[i].kind == WRITE && events[i].file == number && (size_t)events[i].at + events[i].len > room)
			room = (size_t)events[i].at + events[i].len;
	image.bytes = calloc(1, room);
	if (image.bytes == NULL)
		fail("out of", "memory");
	put_all(number, moment, seed, &image);
	snprintf(path, sizeof(path), "%s/%s", to, f->name);
	*strrchr(path, '/') = '\0';
	if (file_make_dirs(path, NULL) < 0)
		fail("cannot make", path);
	snprintf(path, sizeof(path), "%s/%s", to, f->name);
	if (file_write_atomic(path, image.bytes, image.len, 0600, NULL) < 0)
		fail("cannot write", path);
	free(image.bytes);
}

void
power_image(size_t moment, uint64_t seed, const char *to)
{
	if (file_remove_tree(to, NULL) < 0 || file_make_dirs(to, NULL) < 0)
		fail("cannot make", to);
	for (unsigned i = 0; i < file_count; i++)
		make_file(i, moment, &seed, to);
}
