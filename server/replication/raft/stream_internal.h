/* Shared by the parts of the check: stream.c frames messages and reads headers, stream_payload.c
 * reads payloads. */
#ifndef SERVER_REPLICATION_RAFT_STREAM_INTERNAL_H_
#define SERVER_REPLICATION_RAFT_STREAM_INTERNAL_H_

#include "server/replication/raft/stream.h"

/* The kind of an entry, by its head. */
struct member_stream_entry {
	uint64_t term;
	uint32_t size; /* bytes */
	uint32_t type; /* libraft's */
};

enum stream_unit {
	UNIT_PREAMBLE,      /* type and size of the header */
	UNIT_FIXED,         /* the header's numbers */
	UNIT_ENTRY_HEAD,    /* of each entry */
	UNIT_CONFIGURATION, /* a snapshot's, and the size of its payload */
	UNIT_UNUSED,        /* bytes that are never read */
	UNIT_POINTER,       /* a snapshot's payload */
	UNIT_CHANGE,        /* an entry that is a configuration */
	UNIT_COMMAND,       /* the head of an entry of ours */
	UNIT_OP,            /* the head of an op in it */
	UNIT_WHOLE,         /* the head of an entry that comes in parts, in the first of them */
	UNIT_TEXT,          /* of an entry other than a batch */
};

enum stream_next { NEXT_MESSAGE, NEXT_ENTRY, NEXT_OP };

#define STREAM_TEXT_MAX 65536   /* bytes of a pointer, a contact, a cluster's name */
#define STREAM_CONF_MAX 1048576 /* bytes of a configuration: DIRECTORY_MAX members take 75 KB */

/* Gather so many bytes. 0 or SP_ENOMEM. */
int stream_expect(struct member_stream *s, enum stream_unit unit, size_t want, struct sp_error *err);

/* SP_EBADDATA, with why. */
int stream_refuse(struct sp_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- stream_payload.c --- */

/* The header is whole: begin with what follows. */
int stream_begin_payload(struct member_stream *s, struct sp_error *err);

/* The skipped bytes have come: continue with s->after. */
int stream_go_on(struct member_stream *s, struct sp_error *err);

/* A unit of the payload is there. */
int stream_payload_unit(struct member_stream *s, struct sp_error *err);

/* Whether these bytes are a configuration that libraft reads to its end and no further. */
int stream_check_configuration(const unsigned char *bytes, size_t len, struct sp_error *err);

#endif
