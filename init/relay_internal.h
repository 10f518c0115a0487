/* An archive that is passed on, as its arrival (relay.c) and its readers (relay_serve.c) know
 * it. */
#ifndef INIT_RELAY_INTERNAL_H_
#define INIT_RELAY_INTERNAL_H_

#include <pthread.h>

#include "init/relay.h"
#include "lib/base/buf.h"
#include "lib/net/listener.h"
#include "lib/protocol/fanout.h"

/* One pod that is being sent to. */
struct reader {
	struct relay *relay;
	struct request *rq;
	bool placed; /* counts in the fan-out, as `pod` */
	unsigned pod;

	/* Under the relay's lock. */
	struct reader *next;
	uint64_t at;  /* next byte of the archive */
	bool waiting; /* suspended until more arrives */
};

struct relay {
	struct relay_options o;
	struct listener *listener;

	/* All below under lock; lock order: before the writer's. */
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a reader got on, or left */
	bool ended;           /* nothing is passed on any more */
	char id[64];          /* "": no archive arrives yet */
	uint64_t length;      /* of the archive */
	uint64_t arrived;
	struct buf head;              /* its first bytes, up to the image and some of it */
	struct buf tail;              /* its bytes after the image */
	uint64_t image_at, image_end; /* 0 while not known */
	struct writer *writer;        /* NULL before, and after all of the image is in the file */
	int fd;                       /* the file, for reading; -1 while there is none */
	struct fanout fanout;
	struct reader *readers;
};

/* Tell the writer from where on readers follow. With the lock held. */
void relay_note_readers(struct relay *r);

/* The listener's callbacks, whose arg is the relay. */
unsigned relay_admit(struct request *rq, const char **detail, void *arg);
void relay_handle(struct request *rq, void *arg);
void relay_refuse(struct request *rq, unsigned status, const char *detail, void *arg);

#endif
