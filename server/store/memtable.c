#include "server/store/memtable.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

#define BUCKETS     32768u
#define BLOCK_BYTES (256u << 10)

struct block {
	struct block *next;
	size_t used, size; /* bytes of data */
	_Alignas(16) unsigned char data[];
};

struct memtable {
	atomic_uint refs;
	int64_t made_ms;
	struct memtable_entry *_Atomic buckets[BUCKETS];

	const struct memtable_entry *published; /* under the caller's lock */

	/* The writer's. */
	struct block *blocks; /* the first one is being filled */
	struct memtable_entry *first, *last;
	size_t count, bytes;
	uint64_t base;
};

struct memtable *
memtable_new(void)
{
	struct memtable *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	atomic_init(&r->refs, 1);
	r->made_ms = clock_mono_ms();
	r->bytes = sizeof(*r);
	return r;
}

struct memtable *
memtable_ref(struct memtable *r)
{
	if (r != NULL)
		atomic_fetch_add(&r->refs, 1);
	return r;
}

void
memtable_unref(struct memtable *r)
{
	struct block *next;

	if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	for (struct block *b = r->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(r);
}

static void *
take_bytes(struct memtable *r, size_t len)
{
	struct block *b = r->blocks;
	size_t size;
	void *at;

	len = (len + 15) / 16 * 16;
	if (b == NULL || b->size - b->used < len) {
		size = len > BLOCK_BYTES - sizeof(*b) ? len : BLOCK_BYTES - sizeof(*b);
		b = malloc(sizeof(*b) + size);
		if (b == NULL)
			return NULL;
		b->next = r->blocks;
		b->used = 0;
		b->size = size;
		r->blocks = b;
		r->bytes += sizeof(*b) + size;
	}
	at = b->data + b->used;
	b->used += len;
	return at;
}

static uint32_t
hash_key(const void *key, size_t key_len)
{
	return (uint32_t)digest_of(key, key_len).low;
}

static struct memtable_entry *
find(const struct memtable *r, uint32_t hash, const void *key, size_t key_len, uint64_t most)
{
	struct memtable_entry *e = atomic_load_explicit(&r->buckets[hash % BUCKETS], memory_order_acquire);

	while (e != NULL &&
	       (e->key_hash != hash || e->seq > most || e->key_len != key_len || memcmp(e->bytes, key, key_len) != 0))
		e = atomic_load_explicit(&e->older, memory_order_acquire);
	return e;
}

struct memtable_entry *
memtable_add(struct memtable *r, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct memtable_entry *e = take_bytes(r, sizeof(*e) + key_len + value_len);
	struct memtable_entry *_Atomic *bucket;
	struct memtable_entry *replaced;
	uint32_t hash = hash_key(key, key_len);

	if (e == NULL)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->seq = seq;
	e->key_hash = hash;
	e->key_len = (uint16_t)key_len;
	e->value_len = (uint32_t)value_len;
	memcpy(e->bytes, key, key_len);
	if (value_len > 0)
		memcpy(e->bytes + key_len, value, value_len);
	replaced = find(r, hash, key, key_len, UINT64_MAX);
	if (replaced != NULL)
		replaced->newer_seq = seq;
	bucket = &r->buckets[hash % BUCKETS];
	atomic_init(&e->older, atomic_load_explicit(bucket, memory_order_relaxed));
	/* A reader may come upon it from here on, and goes by, because it has not been told this seq. */
	atomic_store_explicit(bucket, e, memory_order_release);
	e->previous = r->last;
	if (r->last != NULL)
		r->last->next = e;
	else
		r->first = e;
	r->last = e;
	r->count++;
	return e;
}

/* Its memory stays: a reader may be standing on it. */
static void
take_out(struct memtable *r, struct memtable_entry *e)
{
	struct memtable_entry *_Atomic *at = &r->buckets[e->key_hash % BUCKETS];
	struct memtable_entry *one;

	while ((one = atomic_load_explicit(at, memory_order_relaxed)) != e)
		at = &one->older;
	atomic_store_explicit(at, atomic_load_explicit(&e->older, memory_order_relaxed), memory_order_release);
	r->count--;
}

void
memtable_rewind(struct memtable *r, struct memtable_entry *last)
{
	struct memtable_entry *e = last != NULL ? last->next : r->first;

	for (; e != NULL; e = e->next)
		take_out(r, e);
	for (e = last != NULL ? last->next : r->first; e != NULL; e = e->next) {
		struct memtable_entry *replaced = find(r, e->key_hash, e->bytes, e->key_len, UINT64_MAX);

		if (replaced != NULL)
			replaced->newer_seq = 0;
	}
	r->last = last;
	if (last != NULL)
		last->next = NULL;
	else
		r->first = NULL;
}

const struct memtable_entry *
memtable_find(const struct memtable *r, const void *key, size_t key_len, uint64_t most)
{
	return r == NULL ? NULL : find(r, hash_key(key, key_len), key, key_len, most);
}

void
memtable_set_base(struct memtable *r, uint64_t seq)
{
	r->base = seq;
}

uint64_t
memtable_base(const struct memtable *r)
{
	return r->base;
}

void
memtable_publish(struct memtable *r)
{
	r->published = r->last;
}

const struct memtable_entry *
memtable_published(const struct memtable *r)
{
	return r != NULL ? r->published : NULL;
}

struct memtable_entry *
memtable_first(const struct memtable *r)
{
	return r->first;
}

struct memtable_entry *
memtable_last(const struct memtable *r)
{
	return r->last;
}

size_t
memtable_count(const struct memtable *r)
{
	return r->count;
}

size_t
memtable_bytes(const struct memtable *r)
{
	return r->bytes;
}

int64_t
memtable_made_ms(const struct memtable *r)
{
	return r->made_ms;
}
