#include "tests/lib/toy_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/protocol/feed.h"

void
toy_init(struct toy_store *s, enum role role)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->mutex, NULL);
	snprintf(s->p.cluster, sizeof(s->p.cluster), "%s", TOY_CLUSTER);
	snprintf(s->p.mode, sizeof(s->p.mode), "static");
	s->p.epoch = 1;
	s->p.consistent = true;
	s->p.writable = true;
	s->p.role = role;
	s->p.history_count = 1;
	s->p.history[0] = (struct epoch_start){ .epoch = 1, .since = 0 };
}

void
toy_release(struct toy_store *s)
{
	pthread_mutex_destroy(&s->mutex);
}

static struct digest
hash(const struct toy_record *r)
{
	return digest_of_record(r->key, strlen(r->key), r->seq, r->value, strlen(r->value));
}

static void
drop(struct toy_store *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->records[i].key, key) != 0)
			continue;
		if (!s->records[i].is_delete) {
			s->p.digest = digest_sub(s->p.digest, hash(&s->records[i]));
			s->p.keys--;
		}
		memmove(&s->records[i], &s->records[i + 1], (s->count - i - 1) * sizeof(s->records[0]));
		s->count--;
		return;
	}
}

static void
add(struct toy_store *s, const struct toy_record *r)
{
	struct toy_record copy = *r;

	drop(s, copy.key);
	if (s->count == TOY_RECORDS_MAX)
		abort();
	s->records[s->count++] = copy;
	s->p.seq = copy.seq;
	if (copy.is_delete)
		return;
	s->p.digest = digest_add(s->p.digest, hash(&copy));
	s->p.keys++;
}

static void
change(struct toy_store *s, const char *key, const char *value)
{
	struct toy_record r = { .is_delete = value == NULL };

	snprintf(r.key, sizeof(r.key), "%s", key);
	snprintf(r.value, sizeof(r.value), "%s", value != NULL ? value : "");
	pthread_mutex_lock(&s->mutex);
	r.seq = s->p.seq + 1;
	add(s, &r);
	pthread_mutex_unlock(&s->mutex);
}

void
toy_put(struct toy_store *s, const char *key, const char *value)
{
	change(s, key, value);
}

void
toy_delete(struct toy_store *s, const char *key)
{
	change(s, key, NULL);
}

struct position
toy_position(struct toy_store *s)
{
	struct position p;

	pthread_mutex_lock(&s->mutex);
	p = s->p;
	pthread_mutex_unlock(&s->mutex);
	return p;
}

void
toy_copy(struct toy_store *s, struct toy_store *from)
{
	struct toy_store *copy = malloc(sizeof(*copy));
	enum role role;

	if (copy == NULL)
		abort();
	pthread_mutex_lock(&from->mutex);
	memcpy(copy->records, from->records, sizeof(copy->records));
	copy->count = from->count;
	copy->p = from->p;
	pthread_mutex_unlock(&from->mutex);
	pthread_mutex_lock(&s->mutex);
	role = s->p.role;
	memcpy(s->records, copy->records, sizeof(s->records));
	s->count = copy->count;
	s->p = copy->p;
	s->p.role = role;
	pthread_mutex_unlock(&s->mutex);
	free(copy);
}

void
toy_feed(struct toy_store *s, uint64_t since, size_t max_records, struct buf *out)
{
	uint32_t n = 0;
	bool whole = true;
	int rc;

	pthread_mutex_lock(&s->mutex);
	rc = feed_write_header(out, &s->p, since);
	for (size_t i = 0; i < s->count && rc == 0; i++) {
		const struct toy_record *r = &s->records[i];

		if (r->seq <= since)
			continue;
		if (n == max_records) {
			whole = false;
			break;
		}
		if (r->is_delete)
			rc = feed_write_delete(out, r->seq, r->key, strlen(r->key));
		else
			rc = feed_write_put(out, r->seq, r->key, strlen(r->key), r->value, strlen(r->value));
		n++;
	}
	rc = rc < 0 ? rc : whole ? feed_write_cut(out, &s->p) : feed_write_more(out, s->p.seq);
	rc = rc < 0 ? rc : feed_write_end(out, n);
	pthread_mutex_unlock(&s->mutex);
	if (rc < 0)
		abort();
}

static int
apply_records(struct toy_store *s, const void *feed, size_t len, const struct feed_info *info, struct sp_error *err)
{
	struct feed_record fr;
	size_t cursor = 0;

	while (feed_next(feed, len, &cursor, &fr) == 1) {
		struct toy_record r = { .seq = fr.seq, .is_delete = fr.is_delete };

		snprintf(r.key, sizeof(r.key), "%.*s", (int)fr.key_len, (const char *)fr.key);
		if (!fr.is_delete)
			snprintf(r.value, sizeof(r.value), "%.*s", (int)fr.value_len, (const char *)fr.value);
		add(s, &r);
	}
	s->p.consistent = info->cut;
	s->p.epoch = info->epoch;
	s->p.history_count = info->history_count;
	memcpy(s->p.history, info->history, sizeof(s->p.history));
	if (!info->cut)
		return 0;
	s->p.seq = info->seq;
	if (!digest_equal(s->p.digest, info->digest))
		return sp_error_set(err, SP_EDIGEST, "digest expected and found differ");
	return 0;
}

/* Apply a feed, all of it or nothing; as driver_ops.apply. */
static int
toy_apply(struct toy_store *s, const void *feed, size_t len, struct position *after, struct sp_error *err)
{
	struct toy_store *before;
	struct feed_info info;
	int rc;

	rc = feed_check(feed, len, &info, err);
	if (rc < 0)
		return rc;
	before = malloc(sizeof(*before));
	if (before == NULL)
		abort();
	pthread_mutex_lock(&s->mutex);
	memcpy(before->records, s->records, sizeof(s->records));
	before->count = s->count;
	before->p = s->p;
	if (strcmp(info.cluster, s->p.cluster) != 0)
		rc = sp_error_set(err, SP_EDIVERGED, "another cluster");
	else if (info.since != s->p.seq)
		rc = sp_error_set(err, SP_EGAP, "feed since %llu, store at %llu", (unsigned long long)info.since,
		    (unsigned long long)s->p.seq);
	else
		rc = apply_records(s, feed, len, &info, err);
	if (rc < 0) {
		memcpy(s->records, before->records, sizeof(s->records));
		s->count = before->count;
		s->p = before->p;
	} else {
		*after = s->p;
	}
	pthread_mutex_unlock(&s->mutex);
	free(before);
	return rc;
}

static int
driver_position(struct driver *driver, struct position *out, struct sp_error *err)
{
	struct toy_driver *d = (struct toy_driver *)driver;
	int error;

	pthread_mutex_lock(&d->mutex);
	d->positions++;
	error = d->position_error;
	pthread_mutex_unlock(&d->mutex);
	if (error < 0)
		return sp_error_set(err, error, "the toy server says %s", sp_code_name(error));
	*out = toy_position(d->store);
	return 0;
}

static int
driver_apply(struct driver *driver, const void *feed, size_t len, struct position *after, struct sp_error *err)
{
	struct toy_driver *d = (struct toy_driver *)driver;
	int error;

	pthread_mutex_lock(&d->mutex);
	d->applies++;
	error = d->apply_error;
	pthread_mutex_unlock(&d->mutex);
	if (error < 0)
		return sp_error_set(err, error, "the toy server says %s", sp_code_name(error));
	return toy_apply(d->store, feed, len, after, err);
}

void
toy_driver_init(struct toy_driver *d, struct toy_store *s)
{
	static const struct driver_ops ops = { .name = "toy", .position = driver_position, .apply = driver_apply };

	memset(d, 0, sizeof(*d));
	d->driver.ops = &ops;
	d->store = s;
	pthread_mutex_init(&d->mutex, NULL);
}

static int
driver_pull(struct driver *driver, const char *url, int64_t for_ms, struct driver_pulled *out, struct sp_error *err)
{
	struct toy_driver *d = (struct toy_driver *)driver;
	struct position before = toy_position(d->store);
	struct feed_info info;
	struct buf feed;
	bool unclean;
	int rc;

	(void)url;
	(void)for_ms;
	pthread_mutex_lock(&d->mutex);
	d->pulls++;
	rc = d->pull_error;
	unclean = d->pull_unclean;
	pthread_mutex_unlock(&d->mutex);
	if (rc < 0)
		return sp_error_set(err, rc, "the toy server does not pull");
	*out = (struct driver_pulled){ .clean = !unclean, .after = before };
	if (unclean)
		return 0;
	buf_init(&feed, FEED_BYTES_MAX);
	toy_feed(d->pull_from, before.seq, TOY_RECORDS_MAX, &feed);
	rc = feed_check(feed.data, feed.len, &info, err);
	if (rc == 0)
		rc = toy_apply(d->store, feed.data, feed.len, &out->after, err);
	out->feeds = 1;
	out->records = info.records;
	out->bytes = feed.len;
	buf_release(&feed);
	return rc;
}

void
toy_driver_let_pull(struct toy_driver *d, struct toy_store *from)
{
	static const struct driver_ops ops = {
		.name = "toy", .position = driver_position, .apply = driver_apply, .pull = driver_pull
	};

	d->pull_from = from;
	d->driver.ops = &ops;
}

void
toy_driver_fail(struct toy_driver *d, int position_error, int apply_error)
{
	pthread_mutex_lock(&d->mutex);
	d->position_error = position_error;
	d->apply_error = apply_error;
	pthread_mutex_unlock(&d->mutex);
}
