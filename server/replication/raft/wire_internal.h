/* Shared by the parts of a wire: wire.c takes the steps, wire_greet.c the last one. */
#ifndef SERVER_REPLICATION_RAFT_WIRE_INTERNAL_H_
#define SERVER_REPLICATION_RAFT_WIRE_INTERNAL_H_

#include "server/replication/raft/address.h"
#include "server/replication/raft/greeting.h"
#include "server/replication/raft/tls_stream.h"
#include "server/replication/raft/wire.h"

/* Of a greeting; those after the first only if there is a secret. */
enum leg { LEG_GREETING, LEG_NONCE, LEG_PROOF, LEG_ANSWER };

enum step { LOOKING_UP, CONNECTING, SHAKING, GREETING };

struct wire {
	struct transport *transport;
	struct wire *next;
	enum step step;
	bool asks;
	int64_t until_ms; /* of this step; monotonic */
	int fd;           /* -1: none */
	struct loop_poll *poll;
	struct tls_stream *tls;
	enum leg leg;        /* of the greeting: */
	unsigned char *part; /* what is written or read in it, */
	size_t len, done;    /* all of that as far as is known, and what has gone */
	size_t greeting_len;
	unsigned char greeting[GREETING_MAX];
	unsigned char nonce[SECRET_NONCE_BYTES]; /* of the one that is asked */
	unsigned char proof[SECRET_PROOF_BYTES], answer[SECRET_PROOF_BYTES];

	/* Of the asking side: */
	raft_id id;
	struct wire_address to;
	uv_getaddrinfo_t lookup;
	int family;                  /* that is looked up */
	struct addrinfo *found, *at; /* all addresses, and the one after this */
	struct raft_uv_connect *request;
	raft_uv_connect_cb cb;
};

/* --- The end of a wire (wire.c): each frees it --- */

/* Without a word to anybody. */
void wire_drop(struct wire *w);

/* It failed: the callback of the asking side gets `code`. */
void wire_fail(struct wire *w, int code);

/* The same with a reason, for the operator; `address` as it greeted, "" if it did not. */
void wire_refuse(struct wire *w, const char *address, const char *why);

/* --- On the way --- */

/* Go on when the socket can be read or written. The wire may be gone afterwards. */
void wire_wait(struct wire *w, int events);

/* The connection is libraft's from here on, through a tunnel; the wire is left. NULL: no memory or no
 * descriptors. */
uv_stream_t *wire_give_away(struct wire *w);

/* --- Greetings (wire_greet.c) --- */

/* Begin with it; the asking side has its bytes ready. 0 or an error. */
int wire_begin_greeting(struct wire *w);

/* Say it, or hear it and judge. The wire may be gone afterwards. */
void wire_greet(struct wire *w);

#endif
