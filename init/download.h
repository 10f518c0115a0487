/*
 * The bytes of a donor's snapshot, as a source for lib/protocol/tar.h. They may come from a sibling
 * that the donor points to (lib/protocol/fanout.h). If the connection breaks or stalls midway and
 * the donor still holds the snapshot, the download resumes from the donor at the byte where it
 * ended, and the reader above does not notice.
 *
 *	download_init(&d, &options);
 *	download_open(&d, &err);
 *	while (download_read(&d, &data, &len, &err) == 1) …
 *	download_release(&d);
 *
 * One thread.
 */
#ifndef INIT_DOWNLOAD_H_
#define INIT_DOWNLOAD_H_

#include <stdbool.h>
#include <stdint.h>

#include "init/relay.h"
#include "lib/base/backoff.h"
#include "lib/net/http_client.h"

/* Tries in a row to resume without a new byte; then the download has failed. */
#define DOWNLOAD_RESUME_TRIES 5

struct download_options {
	const char *base_url;
	const struct http_access *access; /* the rules for peers; NULL: none */
	int64_t stall_timeout_ms;
	int64_t retry_delay_ms; /* before the first try to resume */
	uint64_t rate_limit;    /* bytes a second, 0: none */
	bool zstd;

	/*
	 * Of a pod that passes on what it gets, and so may be pointed to a sibling by its donor. NULL: the donor is to
	 * send the snapshot itself.
	 */
	struct relay *relay;
	unsigned ordinal; /* this pod's */
	uint64_t lag;     /* how many changes behind the donor a snapshot may be that others are getting */
	uint64_t min_seq; /* the least change that it must hold */
	bool (*sibling_url)(void *arg, unsigned ordinal, char *out, size_t size); /* false: there is no such sibling */
	void *sibling_arg;

	void (*look)(void *arg); /* before each try to resume: take new certificates and tokens; or NULL */
	void *look_arg;
};

struct download {
	struct download_options options;
	struct http_client *http;
	struct http_reply reply;
	struct backoff backoff;
	char id[64];     /* how the donor calls this snapshot; "" if it cannot be resumed */
	uint64_t bytes;  /* of the tar stream, so far */
	uint64_t total;  /* as announced; 0 if it was not (compressed) */
	bool passed_on;  /* bytes came from a sibling */
	bool at_sibling; /* it is a sibling that sends at present */
	bool ended;      /* the answer came whole: what is wrong with it now is not the connection's fault */
};

int download_init(struct download *d, const struct download_options *options, struct sp_error *err);
void download_release(struct download *d);

/* Ask for the snapshot. SP_EAGAIN if the donor has none at present, else as lib/net/http_client.h says. */
int download_open(struct download *d, struct sp_error *err);

/*
 * A tar_source whose arg is the struct download. SP_ETRUNCATED, SP_ESTALLED or SP_EUNAVAIL if it
 * could not resume after several tries, or because the donor no longer holds the snapshot;
 * SP_ECANCELED.
 */
int download_read(void *arg, const void **data, size_t *len, struct sp_error *err);

#endif
