#include "init/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"

/* Readers may hold the writing up for so long in all, and for a tenth of the time that it takes. */
#define PATIENCE_MS 1000

/*
 * A disk that is given one write at a time wants large ones; one buffer is filled while another is written, and the
 * third evens out what either side dawdles.
 */
#define SLOTS       3
#define SLOT_BYTES  ((size_t)2 << 20)
#define DIRECT_UNIT 4096 /* O_DIRECT takes multiples of the disk's block, which is no larger */

#define MEMORY_BYTES ((SLOTS + 1) * SLOT_BYTES) /* one more to align them within; it is never touched */

struct slot {
	unsigned char *data;
	size_t len;
};

struct writer {
	pthread_t thread;
	unsigned char *memory; /* MEMORY_BYTES, the slots within */
	int fd;

	/* The caller's: the slot being filled. */
	unsigned filling;
	int64_t begun_ms;
	int64_t held_ms; /* how long readers have held it up */

	/* The thread's. */
	bool direct;

	/*
	 * Under lock. Slots from `done` to `full`, counted without end, wait to be written. Readers find in memory what
	 * the last SLOTS of them hold, less one once the next is being filled.
	 */
	uint64_t written; /* bytes; the thread alone changes it */
	uint64_t keep;    /* readers want what begins here; UINT64_MAX: there are none to wait for */
	bool refilling;   /* the slot to fill no longer holds what it held */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct slot slots[SLOTS];
	uint64_t full, done;
	bool ending; /* no more slots come */
	bool dropped;
	int code; /* the first failure, with its story */
	struct sp_error err;
};

static void
set_direct(struct writer *w, bool direct)
{
	int flags = fcntl(w->fd, F_GETFL);

	w->direct = flags >= 0 && fcntl(w->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0 && direct;
}

static int
write_slot(struct writer *w, const struct slot *slot, struct sp_error *err)
{
	const unsigned char *at = slot->data;
	size_t left = slot->len;

	/* Only the last piece may be of an odd length. */
	if (w->direct && left % DIRECT_UNIT != 0)
		set_direct(w, false);
	while (left > 0) {
		ssize_t n = write(w->fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		/* Some file systems take the flag and refuse the write, or stop at a length that it cannot go on from.
		 */
		if (w->direct && ((n < 0 && errno == EINVAL) || (n > 0 && n % DIRECT_UNIT != 0)))
			set_direct(w, false);
		else if (n <= 0)
			return sp_error_errno(err, n < 0 ? errno : EIO, "%zu bytes left to write", left);
		if (n > 0) {
			at += n;
			left -= (size_t)n;
		}
	}
	/* A hint: its failure changes nothing. */
	if (!w->direct)
		(void)sync_file_range(w->fd, (off_t)w->written, (off_t)slot->len, SYNC_FILE_RANGE_WRITE);
	FAULT_POINT("init.piece_written");
	return 0;
}

static void *
write_slots(void *arg)
{
	struct writer *w = arg;
	struct sp_error err = { 0 };
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->done == w->full && !w->ending)
			pthread_cond_wait(&w->changed, &w->lock);
		if (w->done == w->full || w->dropped)
			break;
		pthread_mutex_unlock(&w->lock);
		rc = write_slot(w, &w->slots[w->done % SLOTS], &err);
		pthread_mutex_lock(&w->lock);
		w->written += rc == 0 ? w->slots[w->done % SLOTS].len : 0;
		w->done++;
		if (rc < 0) {
			w->code = rc;
			w->err = err;
		}
		pthread_cond_broadcast(&w->changed);
		if (rc < 0)
			break;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct writer *
writer_new(int fd, struct sp_error *err)
{
	struct writer *w = calloc(1, sizeof(*w));
	unsigned char *first;
	int rc;

	if (w == NULL)
		goto fail;
	/* cppcheck-suppress invalidFunctionArg ; no file: -1 is right */
	w->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->memory == MAP_FAILED)
		goto fail;
	w->fd = fd;
	w->keep = UINT64_MAX;
	w->begun_ms = clock_mono_ms();
	set_direct(w, true);
	/* A slot that is one large page goes to the disk in one piece instead of 512: measured, that is most of the
	 * cost of such a write. A kernel that has none to give gives small ones. */
	first = (unsigned char *)(((uintptr_t)w->memory + SLOT_BYTES - 1) / SLOT_BYTES * SLOT_BYTES);
	(void)madvise(first, SLOTS * SLOT_BYTES, MADV_HUGEPAGE);
	for (size_t i = 0; i < SLOTS; i++)
		w->slots[i].data = first + i * SLOT_BYTES;
	pthread_mutex_init(&w->lock, NULL);
	cond_init(&w->changed);
	rc = pthread_create(&w->thread, NULL, write_slots, w);
	if (rc == 0)
		return w;
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	munmap(w->memory, MEMORY_BYTES);
fail:
	free(w);
	sp_error_set(err, SP_ENOMEM, "write in a thread: out of memory");
	return NULL;
}

/* Whether readers still want what the slot to fill holds. With the lock held. */
static bool
is_wanted(const struct writer *w)
{
	return !w->refilling && w->full >= SLOTS && w->keep < (w->full - SLOTS + 1) * SLOT_BYTES;
}

/* Let readers take what the slot to fill holds, as long as there is patience left. With the lock held. */
static void
wait_for_readers(struct writer *w)
{
	int64_t now_ms = clock_mono_ms(), began_ms = now_ms;
	int64_t until_ms = now_ms + PATIENCE_MS + (now_ms - w->begun_ms) / 10 - w->held_ms;

	while (w->code == 0 && is_wanted(w) && now_ms < until_ms) {
		cond_wait_until(&w->changed, &w->lock, until_ms);
		now_ms = clock_mono_ms();
	}
	w->held_ms += now_ms - began_ms;
}

/* Wait until the slot to fill is free. Its length belongs to the caller then. */
static int
wait_free(struct writer *w, struct sp_error *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	while (w->code == 0 && w->full - w->done == SLOTS)
		pthread_cond_wait(&w->changed, &w->lock);
	if (is_wanted(w))
		wait_for_readers(w);
	w->refilling = true;
	rc = w->code;
	if (rc < 0 && err != NULL)
		*err = w->err;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static void
hand_over(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->full++;
	w->refilling = false;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	w->filling = (w->filling + 1) % SLOTS;
}

int
writer_add(struct writer *w, const void *data, size_t len, struct sp_error *err)
{
	const unsigned char *from = data;
	int rc;

	while (len > 0) {
		struct slot *slot = &w->slots[w->filling];
		size_t n;

		if ((rc = wait_free(w, err)) < 0)
			return rc;
		if (slot->len == SLOT_BYTES)
			slot->len = 0;
		n = SLOT_BYTES - slot->len < len ? SLOT_BYTES - slot->len : len;
		memcpy(slot->data + slot->len, from, n);
		slot->len += n;
		from += n;
		len -= n;
		if (slot->len == SLOT_BYTES)
			hand_over(w);
	}
	return 0;
}

int
writer_end(struct writer *w, struct sp_error *err)
{
	struct slot *slot = &w->slots[w->filling];
	int rc;

	if ((rc = wait_free(w, err)) < 0)
		return rc;
	if (slot->len > 0 && slot->len < SLOT_BYTES)
		hand_over(w);
	pthread_mutex_lock(&w->lock);
	while (w->code == 0 && w->done != w->full)
		pthread_cond_wait(&w->changed, &w->lock);
	rc = w->code;
	if (rc < 0 && err != NULL)
		*err = w->err;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

void
writer_keep(struct writer *w, uint64_t offset)
{
	pthread_mutex_lock(&w->lock);
	w->keep = offset;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

size_t
writer_copy(struct writer *w, uint64_t offset, void *out, size_t max, bool *on_disk)
{
	uint64_t number = offset / SLOT_BYTES, first, start = offset % SLOT_BYTES;
	const struct slot *slot;
	size_t n = 0;

	pthread_mutex_lock(&w->lock);
	first = w->full < SLOTS ? 0 : w->full - SLOTS + w->refilling;
	*on_disk = number < first;
	if (*on_disk) {
		n = offset < w->written ? (size_t)(w->written - offset < max ? w->written - offset : max) : 0;
	} else if (number < w->full) {
		slot = &w->slots[number % SLOTS];
		n = start < slot->len ? (size_t)(slot->len - start < max ? slot->len - start : max) : 0;
		memcpy(out, slot->data + start, n);
	}
	pthread_mutex_unlock(&w->lock);
	return n;
}

void
writer_free(struct writer *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = w->dropped = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	munmap(w->memory, MEMORY_BYTES);
	free(w);
}
