/*
 * The image of one version of the store, byte for byte, for snapshots.
 *
 * A read transaction T keeps LMDB from touching the pages of its version, so those can be read from the file at any
 * time, in any order, as often as wanted; that makes a snapshot resumable and lets several followers share one. Two
 * kinds of pages are not the version's own, and are not read:
 *
 *  - The two meta pages: the file's may belong to later versions. Both are written from T's own
 *    meta page, as LMDB's compacting copy does; a program that opens the image finds T whichever it
 *    picks.
 *  - The pages that are free in T: a writer may be using them again. They are read as zeros, so that the image is the
 * same every time and compresses well. Which they are stands in T's free list, LMDB's database 0 (as mdb_stat -f reads
 * it).
 *
 * The meta page's layout is store_layout.h's; magic and version are checked before anything relies on it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/store/store_internal.h"
#include "server/store/store_layout.h"

#define FREE_DBI  0
#define PIN_TRIES 100 /* versions may pass by while one is being caught */

struct store_pin {
	struct store *store;
	struct store_pin *next; /* in store->pins */
	struct position position;
	unsigned page_size; /* bytes */
	uint64_t page_count;
	unsigned char *meta;     /* one page: T's own */
	unsigned char *free_map; /* a bit for each page: free in T */
	uint64_t free_count;     /* pages marked there */
	int fd;                  /* of data.mdb, our own copy of LMDB's */

	/* Readers hold it for reading; killing takes it for writing. */
	pthread_rwlock_t lock;
	MDB_txn *txn; /* NULL once killed */

	/* Of store_pin_withheld(), for its one caller at a time. */
	size_t counted;          /* the first version whose freed pages were not counted yet; 0: none was */
	uint64_t withheld_pages; /* freed since T */
};

/* Read T's meta page from the file. False if it is not there (any more). */
static bool
catch_meta(struct store_pin *p, size_t txnid)
{
	uint64_t found;
	uint32_t magic, version;
	off_t at = (off_t)((txnid & 1) * p->page_size);

	if (pread(p->fd, p->meta, p->page_size, at) != (ssize_t)p->page_size)
		return false;
	memcpy(&magic, p->meta + META_MAGIC, sizeof(magic));
	memcpy(&version, p->meta + META_VERSION, sizeof(version));
	memcpy(&found, p->meta + META_TXNID, sizeof(found));
	return magic == LMDB_MAGIC && version == LMDB_VERSION && found == txnid;
}

/*
 * Begin a read transaction and catch the meta page of its version before two later commits have overwritten it. A
 * writer that is in the middle of that shows up as a changed page on the second look.
 */
static int
pin_version(struct store_pin *p, struct sp_error *err)
{
	unsigned char *first = malloc(p->page_size);
	int rc = 0;

	if (first == NULL)
		return sp_error_set(err, SP_ENOMEM, "pin the store");
	for (int tries = 0; tries < PIN_TRIES; tries++) {
		rc = mdb_txn_begin(p->store->env, NULL, MDB_RDONLY, &p->txn);
		if (rc != 0) {
			p->txn = NULL;
			rc = store_error(err, rc, "pin the store");
			break;
		}
		if (catch_meta(p, mdb_txn_id(p->txn))) {
			memcpy(first, p->meta, META_END);
			if (catch_meta(p, mdb_txn_id(p->txn)) && memcmp(first, p->meta, META_END) == 0)
				break;
		}
		mdb_txn_abort(p->txn);
		p->txn = NULL;
		rc = sp_error_set(err, SP_EAGAIN, "pin the store: no version stood still long enough");
	}
	free(first);
	return p->txn != NULL ? 0 : rc;
}

/* Mark the pages that T's free list names: for each past version a list of numbers, its length first. */
static int
map_free_pages(struct store_pin *p, struct sp_error *err)
{
	MDB_cursor *c;
	MDB_val key, list;
	size_t count, pgno;
	int rc;

	p->free_map = calloc(1, (size_t)(p->page_count / 8 + 1));
	if (p->free_map == NULL)
		return sp_error_set(err, SP_ENOMEM, "pin the store");
	rc = mdb_cursor_open(p->txn, FREE_DBI, &c);
	if (rc != 0)
		return store_error(err, rc, "read the free list");
	while ((rc = mdb_cursor_get(c, &key, &list, MDB_NEXT)) == 0) {
		memcpy(&count, list.mv_data, sizeof(count));
		for (size_t i = 1; i <= count && (i + 1) * sizeof(size_t) <= list.mv_size; i++) {
			memcpy(&pgno, (const char *)list.mv_data + i * sizeof(size_t), sizeof(pgno));
			if (pgno >= p->page_count)
				continue;
			p->free_map[pgno / 8] |= (unsigned char)(1u << (pgno % 8));
			p->free_count++;
		}
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : store_error(err, rc, "read the free list");
}

static int
fill(struct store_pin *p, struct sp_error *err)
{
	struct meta m;
	mdb_filehandle_t fd;
	uint64_t last;
	int rc;

	p->page_size = p->store->page_size;
	p->meta = malloc(p->page_size);
	if (p->meta == NULL)
		return sp_error_set(err, SP_ENOMEM, "pin the store");
	mdb_env_get_fd(p->store->env, &fd);
	p->fd = dup(fd);
	if (p->fd < 0)
		return sp_error_errno(err, errno, "pin the store");
	rc = pin_version(p, err);
	if (rc == 0)
		rc = meta_get(p->store, p->txn, &m, err);
	if (rc < 0)
		return rc;
	meta_position(&m, &p->position);
	memcpy(&last, p->meta + META_LAST_PG, sizeof(last));
	p->page_count = last + 1;
	return map_free_pages(p, err);
}

int
store_pin_new(struct store *s, struct store_pin **out, struct sp_error *err)
{
	struct store_pin *p = calloc(1, sizeof(*p));
	pthread_rwlockattr_t attr;
	int rc;

	if (p == NULL)
		return sp_error_set(err, SP_ENOMEM, "pin the store");
	p->store = s;
	p->fd = -1;
	/* Without this, readers that keep coming keep the store from being released. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&p->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env == NULL)
		rc = s->known ? sp_error_set(err, SP_EAGAIN, "the store is released for reseeding")
			      : sp_error_set(err, SP_ENOTFOUND, "there is no store here yet");
	else
		rc = fill(p, err);
	if (rc == 0) {
		pthread_mutex_lock(&s->pins_lock);
		p->next = s->pins;
		s->pins = p;
		pthread_mutex_unlock(&s->pins_lock);
		*out = p;
	}
	pthread_rwlock_unlock(&s->env_lock);
	if (rc < 0)
		store_pin_free(p);
	return rc;
}

static void
kill_pin(struct store_pin *p)
{
	pthread_rwlock_wrlock(&p->lock);
	if (p->txn != NULL)
		mdb_txn_abort(p->txn);
	p->txn = NULL;
	pthread_rwlock_unlock(&p->lock);
}

void
store_pins_kill(struct store *s)
{
	pthread_mutex_lock(&s->pins_lock);
	for (struct store_pin *p = s->pins; p != NULL; p = p->next)
		kill_pin(p);
	pthread_mutex_unlock(&s->pins_lock);
}

void
store_pin_free(struct store_pin *p)
{
	if (p == NULL)
		return;
	pthread_mutex_lock(&p->store->pins_lock);
	for (struct store_pin **at = &p->store->pins; *at != NULL; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	/* Still under pins_lock, so that the store cannot be closed between the look and the abort. */
	kill_pin(p);
	pthread_mutex_unlock(&p->store->pins_lock);
	if (p->fd >= 0)
		close(p->fd);
	pthread_rwlock_destroy(&p->lock);
	free(p->free_map);
	free(p->meta);
	free(p);
}

uint64_t
store_pin_size(const struct store_pin *p)
{
	return p->page_count * p->page_size;
}

unsigned
store_pin_page_size(const struct store_pin *p)
{
	return p->page_size;
}

uint64_t
store_pin_live(const struct store_pin *p)
{
	return (p->page_count - p->free_count) * p->page_size;
}

/* Add what the versions since the last look have freed: LMDB keeps a list of it under each version's number, and cannot
 * take one back while T is there. */
static void
count_withheld(struct store_pin *p)
{
	MDB_txn *now;
	MDB_cursor *c;
	MDB_val key, list;
	size_t from = p->counted != 0 ? p->counted : mdb_txn_id(p->txn) + 1, count;
	int rc;

	if (mdb_txn_begin(p->store->env, NULL, MDB_RDONLY, &now) != 0)
		return;
	if (mdb_cursor_open(now, FREE_DBI, &c) == 0) {
		key = (MDB_val){ .mv_size = sizeof(from), .mv_data = &from };
		rc = mdb_cursor_get(c, &key, &list, MDB_SET_RANGE);
		for (; rc == 0; rc = mdb_cursor_get(c, &key, &list, MDB_NEXT)) {
			memcpy(&p->counted, key.mv_data, sizeof(p->counted));
			p->counted++;
			memcpy(&count, list.mv_data, sizeof(count));
			p->withheld_pages += count;
		}
		mdb_cursor_close(c);
	}
	mdb_txn_abort(now);
}

uint64_t
store_pin_withheld(struct store_pin *p)
{
	pthread_rwlock_rdlock(&p->store->env_lock);
	pthread_rwlock_rdlock(&p->lock);
	if (p->txn != NULL)
		count_withheld(p);
	pthread_rwlock_unlock(&p->lock);
	pthread_rwlock_unlock(&p->store->env_lock);
	return p->withheld_pages * p->page_size;
}

const struct position *
store_pin_position(const struct store_pin *p)
{
	return &p->position;
}

static bool
is_free(const struct store_pin *p, uint64_t pgno)
{
	return (p->free_map[pgno / 8] & 1u << (pgno % 8)) != 0;
}

/* Pages from pgno on that are alike (free or not), at most `most`. */
static uint64_t
run_length(const struct store_pin *p, uint64_t pgno, uint64_t most)
{
	bool first = is_free(p, pgno);
	uint64_t n = 1;

	while (n < most && pgno + n < p->page_count && is_free(p, pgno + n) == first)
		n++;
	return n;
}

static int
read_file(struct store_pin *p, uint64_t offset, char *out, size_t len, struct sp_error *err)
{
	while (len > 0) {
		ssize_t n = pread(p->fd, out, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return sp_error_errno(
			    err, n < 0 ? errno : EIO, "read the store at byte %llu", (unsigned long long)offset);
		out += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Part of one of the meta pages: T's, under the number of the page that it stands on. */
static void
read_meta(const struct store_pin *p, uint64_t offset, char *out, size_t len)
{
	uint64_t pgno = offset / p->page_size;

	for (size_t i = 0; i < len; i++) {
		uint64_t at = offset % p->page_size + i;

		out[i] = (char)(at < META_PGNO_BYTES ? pgno >> (8 * at) & 0xff : p->meta[at]);
	}
}

static int
read_locked(struct store_pin *p, uint64_t offset, char *out, size_t len, struct sp_error *err)
{
	int rc = 0;

	while (rc == 0 && len > 0) {
		uint64_t pgno = offset / p->page_size;
		uint64_t within = offset % p->page_size;
		size_t n;

		if (pgno < META_PAGES) {
			n = p->page_size - (size_t)within < len ? p->page_size - (size_t)within : len;
			read_meta(p, offset, out, n);
		} else {
			uint64_t run = run_length(p, pgno, len / p->page_size + 2) * p->page_size - within;

			n = run < len ? (size_t)run : len;
			if (is_free(p, pgno))
				memset(out, 0, n);
			else
				rc = read_file(p, offset, out, n, err);
		}
		offset += n;
		out += n;
		len -= n;
	}
	return rc;
}

int
store_pin_read(struct store_pin *p, uint64_t offset, void *out, size_t len, struct sp_error *err)
{
	int rc;

	if (len > store_pin_size(p) || offset > store_pin_size(p) - len)
		return sp_error_set(err, SP_EINTERNAL, "read beyond the image");
	pthread_rwlock_rdlock(&p->lock);
	if (p->txn == NULL)
		rc = sp_error_set(err, SP_EAGAIN, "the store was released");
	else
		rc = read_locked(p, offset, out, len, err);
	pthread_rwlock_unlock(&p->lock);
	return rc;
}
