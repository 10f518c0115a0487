#include "server/snapshot/snapshot.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <uuid.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/tar.h"
#include "server/snapshot/internal.h"

#define SHARE_MS 5000 /* while others are served from it, a snapshot this young serves the next reader */
#define HELD_MAX 8    /* so many at once; then the newest serves whatever its age */
#define AGE_MAX_MS                                                                                                     \
	(6 * 3600 * 1000LL)   /* a pinned version keeps the store's file growing: no reader may keep it for ever */
#define SMALL_MAX (64u << 10) /* bytes of head and tail */
/* Bytes that a snapshot without readers may withhold from writers, and a quarter of what is in use
 * more. */
#define WITHHELD_MAX ((uint64_t)64 << 20)

struct snapshots {
	struct store *store;
	struct counters *counters;
	char donor[256];

	/* Under lock. */
	pthread_mutex_t lock;
	int64_t hold_ms;
	unsigned fan_out;
	struct snapshot *first; /* newest first */
	unsigned count;

	/* The bytes that all of them withhold, as of the last snapshots_expire(). */
	_Atomic uint64_t withheld_bytes;
};

/*
 * seedpod.json: what a reader needs to know before the first byte of the store. Compact, with a newline. A replica that
 * is between two cuts gives a snapshot too, and says so: it may be all that is left of a leader that lost its volume.
 */
static int
write_description(struct snapshot *s, const char *donor, struct buf *out)
{
	const struct position *p = store_pin_position(s->pin);
	char digest[DIGEST_HEX_SIZE], created[CLOCK_RFC3339_SIZE];
	json_t *history = position_history_to_json(p), *root;
	char *text;
	int rc;

	digest_to_hex(p->digest, digest);
	clock_format(s->created_wall_ms, created, sizeof(created));
	/* Without memory for its history (NULL) there is none for the whole either. */
	root = json_pack("{si ss sI sI ss sI sI sb sI si ss ss so}", "format", SNAPSHOT_FORMAT, "cluster", p->cluster,
	    "epoch", (json_int_t)p->epoch, "seq", (json_int_t)p->seq, "digest", digest, "keys", (json_int_t)p->keys,
	    "horizon", (json_int_t)p->horizon, "consistent", (int)p->consistent, "bytes",
	    (json_int_t)store_pin_size(s->pin), "page_size", (int)store_pin_page_size(s->pin), "created", created,
	    "donor", donor, "history", history);
	text = text_of_json(root, JSON_COMPACT);
	json_decref(root);
	rc = text != NULL ? buf_printf(out, "%s\n", text) : SP_ENOMEM;
	free(text);
	return rc;
}

static int
add_zeros(struct buf *out, size_t n)
{
	static const char zeros[TAR_BLOCK];
	int rc = 0;

	for (; rc == 0 && n > 0; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		rc = buf_add(out, zeros, n < sizeof(zeros) ? n : sizeof(zeros));
	return rc;
}

/* All bytes before the image: the description's member, and the image's header. */
static int
write_head(struct snapshot *s, const char *donor, struct sp_error *err)
{
	int64_t mtime = s->created_wall_ms / 1000;
	struct buf text;
	int rc;

	buf_init(&text, SMALL_MAX);
	rc = write_description(s, donor, &text);
	s->description_digest = digest_of(text.data, text.len);
	if (rc == 0)
		rc = tar_write_header(&s->head, "seedpod.json", text.len, mtime, err);
	if (rc == 0)
		rc = buf_add(&s->head, text.data, text.len);
	if (rc == 0)
		rc = add_zeros(&s->head, tar_padding(text.len));
	if (rc == 0)
		rc = tar_write_header(&s->head, "store/data.mdb", store_pin_size(s->pin), mtime, err);
	buf_release(&text);
	return rc;
}

int
snapshot_write_tail(struct snapshot *s, struct digest image, struct buf *out)
{
	char hex[DIGEST_HEX_SIZE];
	struct buf sums;
	int rc;

	buf_init(&sums, SMALL_MAX);
	digest_to_hex(s->description_digest, hex);
	rc = buf_printf(&sums, "%s  seedpod.json\n", hex);
	digest_to_hex(image, hex);
	if (rc == 0)
		rc = buf_printf(&sums, "%s  store/data.mdb\n", hex);
	digest_to_hex(digest_of(sums.data, sums.len), hex);
	if (rc == 0)
		rc = buf_printf(&sums, "# total %s\n", hex);
	if (rc == 0)
		rc = add_zeros(out, tar_padding(store_pin_size(s->pin)));
	if (rc == 0)
		rc = tar_write_header(out, "seedpod.sums", sums.len, s->created_wall_ms / 1000, NULL);
	if (rc == 0)
		rc = buf_add(out, sums.data, sums.len);
	if (rc == 0)
		rc = add_zeros(out, tar_padding(sums.len) + TAR_END_BYTES);
	buf_release(&sums);
	return rc;
}

static void
snapshot_free(struct snapshot *s)
{
	store_pin_free(s->pin);
	buf_release(&s->head);
	digest_stream_free(s->hash);
	pthread_mutex_destroy(&s->hash_lock);
	pthread_mutex_destroy(&s->fanout_lock);
	free(s);
}

static int
snapshot_new(struct snapshots *l, struct snapshot **out, struct sp_error *err)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	struct buf tail;
	uuid_t id;
	int rc;

	if (s == NULL)
		return sp_error_set(err, SP_ENOMEM, "snapshot");
	s->list = l;
	s->counters = l->counters;
	s->fanout.limit = l->fan_out;
	buf_init(&s->head, SMALL_MAX);
	buf_init(&tail, SMALL_MAX);
	s->hash = digest_stream_new();
	pthread_mutex_init(&s->hash_lock, NULL);
	pthread_mutex_init(&s->fanout_lock, NULL);
	uuid_generate(id);
	uuid_unparse_lower(id, s->id);
	s->created_wall_ms = clock_wall_ms();
	s->created_ms = clock_mono_ms();
	rc = store_pin_new(l->store, &s->pin, err);
	if (rc == 0)
		rc = write_head(s, l->donor, err);
	/* The tail is as long whatever its hashes are. */
	if (rc == 0)
		rc = snapshot_write_tail(s, (struct digest){ 0, 0 }, &tail);
	if (rc == 0)
		s->length = s->head.len + store_pin_size(s->pin) + tail.len;
	buf_release(&tail);
	if (rc < 0) {
		snapshot_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

struct snapshots *
snapshots_new(struct store *s, struct counters *counters, const char *donor, int64_t hold_ms, struct sp_error *err)
{
	struct snapshots *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		sp_error_set(err, SP_ENOMEM, "snapshots");
		return NULL;
	}
	l->store = s;
	l->counters = counters;
	snprintf(l->donor, sizeof(l->donor), "%s", donor);
	l->hold_ms = hold_ms;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void
snapshots_configure(struct snapshots *l, int64_t hold_ms)
{
	pthread_mutex_lock(&l->lock);
	l->hold_ms = hold_ms;
	pthread_mutex_unlock(&l->lock);
}

void
snapshots_set_fan_out(struct snapshots *l, unsigned fan_out)
{
	l->fan_out = fan_out;
}

/* Unlink those without readers that are over by `over`; the caller frees the list without the lock,
 * because letting go of a pin takes the store's. */
static struct snapshot *
take_unused(struct snapshots *l, bool (*over)(const struct snapshots *l, struct snapshot *s, int64_t now))
{
	struct snapshot *gone = NULL, **at = &l->first, *s;
	int64_t now = clock_mono_ms();

	while ((s = *at) != NULL) {
		if (!over(l, s, now) || s->refs > 0) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		s->next = gone;
		gone = s;
		l->count--;
	}
	return gone;
}

static void
free_all(struct snapshot *gone)
{
	struct snapshot *next;

	for (; gone != NULL; gone = next) {
		next = gone->next;
		snapshot_free(gone);
	}
}

/* A pinned version keeps writers from using freed pages again: they make the file larger for good. */
static bool
is_costly(const struct snapshot *s)
{
	return s->withheld_bytes > store_pin_live(s->pin) / 4 + WITHHELD_MAX;
}

/* Too old ones are marked, so that their readers stop; unused ones go after the hold time, or when they cost too much.
 */
static bool
is_over(const struct snapshots *l, struct snapshot *s, int64_t now)
{
	if (now - s->created_ms > AGE_MAX_MS)
		s->dropped = true;
	return s->dropped || now - s->used_ms > l->hold_ms || (s->refs == 0 && is_costly(s));
}

static bool
drop(const struct snapshots *l, struct snapshot *s, int64_t now)
{
	(void)l;
	(void)now;
	s->dropped = true;
	return true;
}

void
snapshots_expire(struct snapshots *l)
{
	struct snapshot *gone;
	uint64_t most = 0;

	pthread_mutex_lock(&l->lock);
	for (struct snapshot *s = l->first; s != NULL; s = s->next)
		s->withheld_bytes = store_pin_withheld(s->pin);
	gone = take_unused(l, is_over);
	/* The bytes that the oldest withholds include those of the others. */
	for (struct snapshot *s = l->first; s != NULL; s = s->next)
		most = s->withheld_bytes > most ? s->withheld_bytes : most;
	atomic_store(&l->withheld_bytes, most);
	pthread_mutex_unlock(&l->lock);
	free_all(gone);
}

uint64_t
snapshots_withheld(struct snapshots *l)
{
	return atomic_load(&l->withheld_bytes);
}

void
snapshots_drop(struct snapshots *l)
{
	struct snapshot *gone;

	pthread_mutex_lock(&l->lock);
	gone = take_unused(l, drop);
	pthread_mutex_unlock(&l->lock);
	free_all(gone);
}

void
snapshots_free(struct snapshots *l)
{
	if (l == NULL)
		return;
	snapshots_drop(l);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

unsigned
snapshots_count(struct snapshots *l)
{
	unsigned n;

	pthread_mutex_lock(&l->lock);
	n = l->count;
	pthread_mutex_unlock(&l->lock);
	return n;
}

/* The snapshot with that id. With the lock held. */
static struct snapshot *
find_id(struct snapshots *l, const char *id)
{
	for (struct snapshot *s = l->first; s != NULL; s = s->next)
		if (!s->dropped && strcmp(s->id, id) == 0)
			return s;
	return NULL;
}

/* The place in the list of the oldest without readers, or NULL. With the lock held. */
static struct snapshot **
find_unread(struct snapshots *l)
{
	struct snapshot **oldest = NULL;

	for (struct snapshot **at = &l->first; *at != NULL; at = &(*at)->next)
		if ((*at)->refs == 0)
			oldest = at;
	return oldest;
}

/*
 * One that serves a new reader as well as a fresh one would: it shows the present, or others are
 * being served from it right now and it is young. A client that asks after its own write, while no
 * other reads, gets that write. With the lock held.
 */
static struct snapshot *
find_shared(struct snapshots *l)
{
	bool full = l->count >= HELD_MAX && find_unread(l) == NULL;
	int64_t now = clock_mono_ms();
	struct position p;

	if (store_position(l->store, &p, NULL) < 0)
		return NULL;
	for (struct snapshot *s = l->first; s != NULL; s = s->next) {
		const struct position *held = store_pin_position(s->pin);

		if (s->dropped)
			continue;
		/* In mode raft an entry may bring a store on in the log and change nothing in it. */
		if (held->seq == p.seq && held->epoch == p.epoch && held->consistent == p.consistent &&
		    held->raft.applied == p.raft.applied)
			return s;
		if (s->refs > 0 && (now - s->created_ms < SHARE_MS || full))
			return s;
	}
	return NULL;
}

/* Take the oldest without readers off the list, if there are too many. With the lock held; the
 * caller frees it. */
static struct snapshot *
take_oldest(struct snapshots *l)
{
	struct snapshot **oldest = find_unread(l), *s;

	if (l->count < HELD_MAX || oldest == NULL)
		return NULL;
	s = *oldest;
	*oldest = s->next;
	s->next = NULL;
	l->count--;
	return s;
}

int
snapshots_acquire(struct snapshots *l, const char *id, struct snapshot **out, struct sp_error *err)
{
	struct snapshot *s, *gone = NULL;
	int rc = 0;

	/* Making one is a matter of milliseconds; callers at the same time share it. */
	pthread_mutex_lock(&l->lock);
	s = id != NULL ? find_id(l, id) : find_shared(l);
	if (s == NULL && id != NULL) {
		rc = sp_error_set(err, SP_ENOTFOUND, "no snapshot %s is held", id);
	} else if (s == NULL) {
		gone = take_oldest(l);
		rc = snapshot_new(l, &s, err);
	}
	if (rc == 0) {
		if (s->refs == 0 && s->used_ms == 0) {
			s->next = l->first;
			l->first = s;
			l->count++;
		}
		s->refs++;
		s->used_ms = clock_mono_ms();
		*out = s;
	}
	pthread_mutex_unlock(&l->lock);
	free_all(gone);
	return rc;
}

static bool
is_passed_on(struct snapshot *s)
{
	bool answer;

	pthread_mutex_lock(&s->fanout_lock);
	answer = s->fanout.count > 0 && !s->dropped;
	pthread_mutex_unlock(&s->fanout_lock);
	return answer;
}

struct snapshot *
snapshots_find_passed_on(struct snapshots *l, uint64_t lag, uint64_t min_seq)
{
	struct snapshot *found = NULL;
	struct position here;

	pthread_mutex_lock(&l->lock);
	if (store_position(l->store, &here, NULL) == 0)
		found = l->first;
	for (; found != NULL; found = found->next) {
		const struct position *p = store_pin_position(found->pin);

		if (is_passed_on(found) && p->consistent && p->epoch == here.epoch && p->seq >= min_seq &&
		    p->seq <= here.seq && here.seq - p->seq <= lag)
			break;
	}
	if (found != NULL) {
		found->refs++;
		found->used_ms = clock_mono_ms();
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

void
snapshot_release(struct snapshot *s)
{
	struct snapshots *l = s->list;

	pthread_mutex_lock(&l->lock);
	s->refs--;
	s->used_ms = clock_mono_ms();
	pthread_mutex_unlock(&l->lock);
}

const char *
snapshot_id(const struct snapshot *s)
{
	return s->id;
}

const struct position *
snapshot_position(const struct snapshot *s)
{
	return store_pin_position(s->pin);
}

uint64_t
snapshot_length(const struct snapshot *s)
{
	return s->length;
}
