#include "lib/net/listener_input.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>

#define DESCRIPTORS_MAX 65536
#define FIRST_BYTES     4096u  /* for what has come and may not pass yet; on the stack while a call lasts */
#define DRAIN_BYTES     65536u /* read and dropped at a fault, so that the refusal is not lost to a reset */

enum input_state {
	INPUT_HEAD,
	INPUT_BODY,
	INPUT_CHUNK_SIZE,
	INPUT_CHUNK_DATA,
	INPUT_CHUNK_END,
	INPUT_TRAILER,
	INPUT_REFUSED,
};

struct input {
	enum input_state state;
	bool secured;
	bool ended;          /* the client sends nothing more */
	uint64_t left;       /* bytes of the body or chunk that have not passed */
	unsigned long heads; /* that passed */
	struct framing_fault fault;

	/* Bytes that have come and not passed. The first `passable` bytes may; the next may not
	 * yet. */
	char *held;
	size_t held_len, held_size;
	size_t passable;
	size_t scanned; /* of the head at the front, by framing_find_end() */
	size_t trailer; /* bytes of trailer fields dropped */
};

static struct input *_Atomic attached[DESCRIPTORS_MAX];

struct input *
input_new(void)
{
	return calloc(1, sizeof(struct input));
}

void
input_free(struct input *in)
{
	if (in == NULL)
		return;
	free(in->held);
	free(in);
}

bool
input_attach(struct input *in, int fd, bool secured)
{
	if (fd < 0 || fd >= DESCRIPTORS_MAX)
		return false;
	in->secured = secured;
	atomic_store_explicit(&attached[fd], in, memory_order_release);
	return true;
}

void
input_detach(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS_MAX)
		atomic_store_explicit(&attached[fd], NULL, memory_order_release);
}

const struct framing_fault *
input_fault(const struct input *in, unsigned long n)
{
	static const struct framing_fault unseen = { .status = 400, .detail = "the request was not checked" };

	/* The library has a request that did not pass here: it reads by other functions than ours. */
	if (n > in->heads)
		return &unseen;
	return in->state == INPUT_REFUSED && in->heads == n ? &in->fault : NULL;
}

/* --- What may pass --- */

static void
drop_front(struct input *in, size_t len)
{
	in->held_len -= len;
	memmove(in->held, in->held + len, in->held_len);
}

/* The library gets `instead` for all that is held and may come. There is room: a fault needs at least a byte, and the
 * buffer has FIRST_BYTES. */
static void
refuse(struct input *in, const char *instead)
{
	in->state = INPUT_REFUSED;
	in->held_len = in->passable = strlen(instead);
	memcpy(in->held, instead, in->held_len);
}

static bool
refuse_head(struct input *in)
{
	in->heads++;
	refuse(in, "GET / HTTP/1.1\r\nHost: -\r\n\r\n");
	return true;
}

/* The body ends here for the library. */
static bool
refuse_body(struct input *in, const char *detail, const char *instead)
{
	in->fault = (struct framing_fault){ .status = 400, .detail = detail };
	refuse(in, instead);
	return true;
}

static bool
advance_head(struct input *in)
{
	struct framing_head head;
	int64_t len;

	/* RFC 9112, 2.2: an empty line before a request is ignored. */
	while (in->held_len >= 2 && in->held[0] == '\r' && in->held[1] == '\n') {
		drop_front(in, 2);
		in->scanned = 0;
	}
	len = framing_find_end(in->held, in->held_len, &in->scanned, &in->fault);
	if (len == 0 && in->held_len >= FRAMING_HEAD_MAX) {
		bool line = memchr(in->held, '\n', in->held_len) == NULL;

		in->fault = (struct framing_fault){ .status = line ? 414 : 431,
			.detail = line ? "the request line is too long" : "the headers are too large" };
		return refuse_head(in);
	}
	if (len == 0)
		return false;
	if (len < 0 || !framing_check_head(in->held, (size_t)len, &head, &in->fault))
		return refuse_head(in);
	in->heads++;
	in->scanned = 0;
	in->passable = (size_t)len;
	in->left = head.length;
	in->state = head.chunked ? INPUT_CHUNK_SIZE : head.length > 0 ? INPUT_BODY : INPUT_HEAD;
	return true;
}

/* `bytes` of the body's or chunk's data pass. */
static void
count_data(struct input *in, size_t bytes)
{
	in->left -= bytes;
	if (in->left == 0)
		in->state = in->state == INPUT_BODY ? INPUT_HEAD : INPUT_CHUNK_END;
}

static bool
advance_data(struct input *in)
{
	if (in->held_len == 0)
		return false;
	in->passable = in->left < in->held_len ? (size_t)in->left : in->held_len;
	count_data(in, in->passable);
	return true;
}

/* The length of the line at the front with its LF, or 0 if it has not come whole. */
static size_t
held_line(const struct input *in)
{
	const char *lf = memchr(in->held, '\n', in->held_len);

	return lf != NULL ? (size_t)(lf - in->held) + 1 : 0;
}

static bool
advance_chunk_size(struct input *in)
{
	size_t len = held_line(in), digits;
	uint64_t size;

	if (len == 0 && in->held_len < FRAMING_LINE_MAX)
		return false;
	if (len == 0 || len > FRAMING_LINE_MAX || !framing_chunk_size(in->held, len, &size, &digits))
		return refuse_body(in, "a chunk's size is malformed", "0\r\n\r\n");
	/* Without the extensions. */
	memmove(in->held + digits, in->held + len - 2, in->held_len - len + 2);
	in->held_len -= len - 2 - digits;
	in->passable = digits + 2;
	in->left = size;
	in->trailer = 0;
	in->state = size > 0 ? INPUT_CHUNK_DATA : INPUT_TRAILER;
	return true;
}

static bool
advance_chunk_end(struct input *in)
{
	if (in->held_len == 0 || (in->held_len == 1 && in->held[0] == '\r'))
		return false;
	if (in->held[0] != '\r' || in->held[1] != '\n')
		return refuse_body(in, "a chunk does not end where its size says", "\r\n0\r\n\r\n");
	in->passable = 2;
	in->state = INPUT_CHUNK_SIZE;
	return true;
}

static bool
advance_trailer(struct input *in)
{
	size_t len = held_line(in);

	if (len == 0 && in->held_len < FRAMING_LINE_MAX)
		return false;
	if (len == 2 && in->held[0] == '\r') {
		in->passable = 2;
		in->state = INPUT_HEAD;
		return true;
	}
	in->trailer += len;
	if (len == 0 || in->trailer > FRAMING_HEAD_MAX || !framing_is_field(in->held, len))
		return refuse_body(in, "a trailer field is malformed", "\r\n");
	drop_front(in, len);
	return true;
}

/* Have more bytes of `held` pass, or drop or replace some. False: more must come first. */
static bool
advance(struct input *in)
{
	switch (in->state) {
	case INPUT_HEAD:
		return advance_head(in);
	case INPUT_BODY:
	case INPUT_CHUNK_DATA:
		return advance_data(in);
	case INPUT_CHUNK_SIZE:
		return advance_chunk_size(in);
	case INPUT_CHUNK_END:
		return advance_chunk_end(in);
	case INPUT_TRAILER:
		return advance_trailer(in);
	case INPUT_REFUSED:
		break;
	}
	return false;
}

static size_t
pass(struct input *in, char *out, size_t size)
{
	size_t got = 0;

	do {
		size_t n = in->passable < size - got ? in->passable : size - got;

		memcpy(out + got, in->held, n);
		drop_front(in, n);
		in->passable -= n;
		got += n;
	} while (in->passable == 0 && got < size && advance(in));
	return got;
}

/* --- Reading --- */

/* Make room for more, at most for a head. */
static bool
grow(struct input *in, const char *stack)
{
	size_t size = in->held_size * 2;
	char *more;

	if (in->held_len < in->held_size)
		return true;
	more = in->held == stack ? malloc(size) : realloc(in->held, size);
	if (more == NULL)
		return false;
	if (in->held == stack)
		memcpy(more, stack, in->held_len);
	in->held = more;
	in->held_size = size;
	return true;
}

/* Drop the bytes that follow a fault. */
static void
drain(const struct input_source *source)
{
	char dropped[FIRST_BYTES];

	for (size_t total = 0; total < DRAIN_BYTES; total += sizeof(dropped))
		if (source->read(source->arg, dropped, sizeof(dropped)) <= 0)
			return;
}

/* Read once: data straight to its place, anything else into `held`. Returns what the source did; *asked is how much it
 * was asked for, *got grows by what passed. */
static ssize_t
read_more(struct input *in, char *out, size_t size, size_t *got, size_t *asked, const struct input_source *source)
{
	bool is_data = (in->state == INPUT_BODY || in->state == INPUT_CHUNK_DATA) && in->held_len == 0;
	ssize_t n;

	*asked = is_data ? size - *got : in->held_size - in->held_len;
	if (is_data && in->left < *asked)
		*asked = (size_t)in->left;
	n = source->read(source->arg, is_data ? out + *got : in->held + in->held_len, *asked);
	if (n <= 0)
		return n;
	if (is_data) {
		count_data(in, (size_t)n);
		*got += (size_t)n;
	} else {
		in->held_len += (size_t)n;
	}
	return n;
}

/* The loop ends only when `out` is full or the source has nothing more: the library waits for an edge of epoll. */
static ssize_t
fill(struct input *in, char *out, size_t size, const char *stack, const struct input_source *source)
{
	size_t got = 0, asked;
	bool drained = false;
	ssize_t n = source->again;

	for (;;) {
		bool refused = in->state == INPUT_REFUSED;

		got += pass(in, out + got, size - got);
		if (in->state == INPUT_REFUSED && !refused)
			drain(source);
		if (got == size || drained || in->ended || in->state == INPUT_REFUSED)
			break;
		if (!grow(in, stack)) {
			in->ended = true; /* out of memory: as if the client had left */
			break;
		}
		n = read_more(in, out, size, &got, &asked, source);
		if (n == 0)
			in->ended = true;
		if (n <= 0)
			break;
		drained = source->drained_if_short && (size_t)n < asked;
	}
	if (got > 0)
		return (ssize_t)got;
	if (in->ended)
		return 0;
	return n < 0 ? n : source->again;
}

ssize_t
input_receive(struct input *in, void *buf, size_t size, const struct input_source *source)
{
	char stack[FIRST_BYTES];
	ssize_t n;

	if (in->held == NULL) {
		in->held = stack;
		in->held_size = sizeof(stack);
	}
	n = fill(in, buf, size, stack, source);
	if (in->held_len == 0 || in->held == stack) {
		char *kept = in->held_len > 0 ? malloc(in->held_size) : NULL;

		if (kept != NULL)
			memcpy(kept, stack, in->held_len);
		else if (in->held_len > 0)
			in->ended = true; /* out of memory */
		if (in->held != stack)
			free(in->held);
		in->held = kept;
		if (kept == NULL)
			in->held_len = in->passable = in->held_size = in->scanned = 0;
	}
	return n;
}

/* --- Between the HTTP library and the system --- */

static struct input *
input_of(int fd, bool secured)
{
	struct input *in =
	    fd >= 0 && fd < DESCRIPTORS_MAX ? atomic_load_explicit(&attached[fd], memory_order_acquire) : NULL;

	return in != NULL && in->secured == secured ? in : NULL;
}

struct plain {
	int fd, flags;
};

static ssize_t
read_plain(void *arg, void *buf, size_t size)
{
	const struct plain *plain = arg;

	return recvfrom(plain->fd, buf, size, plain->flags, NULL, NULL);
}

static ssize_t
read_secured(void *arg, void *buf, size_t size)
{
	return gnutls_record_recv_seq(arg, buf, size, NULL);
}

/* Instead of the C library's, for every library of the process. */
__attribute__((visibility("default"))) ssize_t
recv(int fd, void *buf, size_t size, int flags)
{
	struct plain plain = { .fd = fd, .flags = flags };
	struct input *in = input_of(fd, false);
	ssize_t n;

	if (in == NULL)
		return recvfrom(fd, buf, size, flags, NULL, NULL);
	errno = 0;
	n = input_receive(in, buf, size,
	    &(struct input_source){ .read = read_plain, .again = -1, .drained_if_short = true, .arg = &plain });
	if (n < 0 && errno == 0)
		errno = EAGAIN;
	return n;
}

/* Instead of GnuTLS'. */
__attribute__((visibility("default"))) ssize_t
gnutls_record_recv(gnutls_session_t session, void *buf, size_t size)
{
	struct input *in = input_of(gnutls_transport_get_int(session), true);

	if (in == NULL)
		return read_secured(session, buf, size);
	return input_receive(
	    in, buf, size, &(struct input_source){ .read = read_secured, .again = GNUTLS_E_AGAIN, .arg = session });
}
