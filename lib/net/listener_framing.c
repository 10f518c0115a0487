/*
 * Requests whose bounds two readers may see differently are refused whole: where one of them is a proxy in front of us,
 * what it takes for a body could be to us a request of its own, made in another's name. The HTTP library is lenient
 * here.
 */
#include <string.h>
#include <strings.h>

#include "lib/net/listener_internal.h"

struct framing {
	unsigned lengths, encodings, hosts;
	const char *fault;
};

/* RFC 9110, 5.6.2: what a name may be made of. Looked at for each byte of each request's head, hence a table. */
static const bool token_bytes[256] = {
	['!'] = true,
	['#'] = true,
	['$'] = true,
	['%'] = true,
	['&'] = true,
	['\''] = true,
	['*'] = true,
	['+'] = true,
	['-'] = true,
	['.'] = true,
	['^'] = true,
	['_'] = true,
	['`'] = true,
	['|'] = true,
	['~'] = true,
	['0' ... '9'] = true,
	['A' ... 'Z'] = true,
	['a' ... 'z'] = true,
};

static bool
is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!token_bytes[(unsigned char)text[i]])
			return false;
	return len > 0;
}

static bool
has_controls(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
			return true;
	return false;
}

static enum MHD_Result
look(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct framing *f = arg;

	(void)kind;
	if (!is_token(name, name_len))
		f->fault = "a header's name is none";
	else if (has_controls(value, value_len))
		f->fault = "a header's value has control characters";
	else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		f->lengths++;
	else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		f->hosts++;
	else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		f->encodings++;
		if (strcasecmp(value, "chunked") != 0)
			f->fault = "the only Transfer-Encoding taken is chunked";
	}
	return f->fault == NULL ? MHD_YES : MHD_NO;
}

const char *
request_framing_fault(const struct request *rq, const char *version)
{
	bool is_1_1 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
	struct framing f = { 0 };

	MHD_get_connection_values_n(rq->connection, MHD_HEADER_KIND, look, &f);
	if (f.fault != NULL)
		return f.fault;
	/* The library takes what follows a NUL for nothing, and so one key for another; the version stands behind it.
	 */
	if (version != rq->path + strlen(rq->target) + 1)
		return "the request's target has a NUL byte";
	if (f.lengths + f.encodings > 1)
		return "the body's length is said more than once";
	if (f.encodings > 0 && !is_1_1)
		return "Transfer-Encoding is of HTTP/1.1";
	if (f.hosts > 1 || (f.hosts == 0 && is_1_1))
		return "HTTP/1.1 has one Host";
	if (strcasecmp(rq->method, MHD_HTTP_METHOD_CONNECT) == 0)
		return "this is no proxy";
	return NULL;
}
