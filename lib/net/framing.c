#include "lib/net/framing.h"

#include <string.h>
#include <strings.h>

/*
 * The HTTP library keeps a record for each header, query parameter and cookie in the same 32 KiB as the head itself,
 * and falls silent if they do not fit. So they are counted here.
 */
#define RECORD_BYTES 80u
#define MEMORY_MAX   26624u

/* RFC 9110, 5.6.2: the bytes of a token. Looked up for each byte of each header's name, hence a table. */
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

struct head {
	struct framing_head *out;
	struct framing_fault *fault;
	bool is_1_1;
	unsigned lengths, encodings, hosts;
	size_t memory; /* bytes that the HTTP library needs for it */
};

static bool
refuse(struct framing_fault *fault, unsigned status, const char *detail)
{
	*fault = (struct framing_fault){ .status = status, .detail = detail };
	return false;
}

static bool
is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!token_bytes[(unsigned char)text[i]])
			return false;
	return len > 0;
}

/* Printable, blanks included, or beyond ASCII. */
static bool
is_field_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
			return false;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_named(const char *name, size_t len, const char *wanted)
{
	return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

static size_t
count(const char *text, size_t len, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == c;
	return n;
}

int64_t
framing_find_end(const char *data, size_t len, size_t *scanned, struct framing_fault *fault)
{
	const char *lf;

	while ((lf = memchr(data + *scanned, '\n', len - *scanned)) != NULL) {
		size_t at = (size_t)(lf - data);

		if (at == 0 || data[at - 1] != '\r') {
			refuse(fault, 400, "a line ends in LF alone");
			return -1;
		}
		*scanned = at + 1;
		if (at >= 3 && data[at - 2] == '\n')
			return (int64_t)at + 1;
	}
	*scanned = len;
	return 0;
}

/* --- The request line --- */

static bool
check_target(struct head *h, const char *target, size_t len)
{
	if (len > FRAMING_TARGET_MAX)
		return refuse(h->fault, 414, "the request target is too long");
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)target[i] <= 0x20 || target[i] == 0x7f || target[i] == '#')
			return refuse(h->fault, 400,
			    "the request target has a blank, a control character or \"#\"; they must be "
			    "percent-encoded");
	}
	h->memory += RECORD_BYTES * count(target, len, '&');
	if (h->memory > MEMORY_MAX)
		return refuse(h->fault, 414, "the request target has too many query parameters");
	return true;
}

static bool
check_request_line(struct head *h, const char *line, size_t len)
{
	static const char version[] = " HTTP/1.1";
	const size_t version_len = sizeof(version) - 1;
	const char *blank = memchr(line, ' ', len), *end = line + len - version_len;

	if (blank == NULL || !is_token(line, (size_t)(blank - line)))
		return refuse(h->fault, 400, "the request line has no valid method");
	/* From behind: a target with a blank in it is refused as such. */
	if (blank + 1 >= end || memcmp(end, version, 6) != 0 || end[7] != '.' || end[6] < '0' || end[6] > '9' ||
	    end[8] < '0' || end[8] > '9')
		return refuse(h->fault, len > FRAMING_TARGET_MAX ? 414 : 400,
		    "the request line is not \"METHOD TARGET HTTP/1.1\"");
	if (end[6] != '1' || end[8] > '1')
		return refuse(h->fault, 505, "the HTTP versions here are 1.1 and 1.0");
	h->is_1_1 = end[8] == '1';
	if (is_named(line, (size_t)(blank - line), "CONNECT"))
		return refuse(h->fault, 400, "this is no proxy");
	return check_target(h, blank + 1, (size_t)(end - blank) - 1);
}

/* --- Header fields --- */

static bool
check_length(struct head *h, const char *value, size_t len)
{
	uint64_t length = 0;

	h->lengths++;
	/* 18 digits: no overflow, and more than there is. */
	if (len == 0 || len > 18)
		return refuse(h->fault, 400, "Content-Length is not a number");
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return refuse(h->fault, 400, "Content-Length is not a number");
		length = length * 10 + (uint64_t)(value[i] - '0');
	}
	h->out->length = length;
	return true;
}

static bool
check_encoding(struct head *h, const char *value, size_t len)
{
	h->encodings++;
	h->out->chunked = true;
	if (!is_named(value, len, "chunked"))
		return refuse(h->fault, 400, "the only Transfer-Encoding accepted is chunked");
	return true;
}

static bool
check_host(struct head *h, const char *value, size_t len)
{
	static const char never[] = { ',', '/', '\\', '@', '?', '#' };

	h->hosts++;
	for (size_t i = 0; i < len; i++)
		if (is_blank(value[i]) || memchr(never, value[i], sizeof(never)) != NULL)
			return refuse(h->fault, 400, "Host is not a host");
	return true;
}

/* Underscores that a gateway takes for hyphens: the two headers on which a request's end depends. */
static bool
is_disguised(const char *name, size_t len)
{
	return is_named(name, len, "Content_Length") || is_named(name, len, "Transfer_Encoding");
}

/* The length of the name, or 0 for what is not a field; *fault says why. */
static size_t
parse_name(const char *line, size_t len, struct framing_fault *fault)
{
	const char *colon = memchr(line, ':', len);
	size_t name_len = colon != NULL ? (size_t)(colon - line) : 0;

	if (is_blank(line[0]))
		refuse(fault, 400, "a header is folded over two lines");
	else if (colon == NULL)
		refuse(fault, 400, "a header has no colon");
	else if (!is_token(line, name_len))
		refuse(fault, 400, "a header's name is malformed");
	else if (!is_field_text(colon, len - name_len))
		refuse(fault, 400, "a header's value has control characters");
	else
		return name_len;
	return 0;
}

static bool
check_field(struct head *h, const char *line, size_t len)
{
	size_t name_len = parse_name(line, len, h->fault), value_len;
	const char *value = line + name_len + 1;
	bool blank_behind;

	if (name_len == 0)
		return false;
	h->memory += RECORD_BYTES;
	for (value_len = len - name_len - 1; value_len > 0 && is_blank(value[0]); value_len--)
		value++;
	blank_behind = value_len > 0 && is_blank(value[value_len - 1]);
	if (is_named(line, name_len, "Content-Length"))
		return check_length(h, value, value_len);
	if (is_named(line, name_len, "Transfer-Encoding"))
		return check_encoding(h, value, value_len);
	while (value_len > 0 && is_blank(value[value_len - 1]))
		value_len--;
	if (is_named(line, name_len, "Host"))
		return blank_behind ? refuse(h->fault, 400, "Host is not a host") : check_host(h, value, value_len);
	if (is_named(line, name_len, "Cookie"))
		h->memory +=
		    value_len + RECORD_BYTES * (1 + count(value, value_len, ';') + count(value, value_len, ','));
	if (is_disguised(line, name_len))
		return refuse(h->fault, 400, "a header's name has \"_\" for \"-\"");
	return true;
}

bool
framing_is_field(const char *line, size_t len)
{
	struct framing_fault ignored;

	return len > 2 && line[len - 2] == '\r' && line[len - 1] == '\n' && parse_name(line, len - 2, &ignored) > 0;
}

/* The meaning of the head as a whole. */
static bool
check_whole(struct head *h)
{
	if (h->memory > MEMORY_MAX)
		return refuse(h->fault, 431, "the request has too many headers");
	if (h->lengths + h->encodings > 1)
		return refuse(h->fault, 400, "the body's length is given more than once");
	if (h->encodings > 0 && !h->is_1_1)
		return refuse(h->fault, 400, "Transfer-Encoding requires HTTP/1.1");
	if (h->hosts > 1 || (h->hosts == 0 && h->is_1_1))
		return refuse(h->fault, 400, "HTTP/1.1 requires one Host");
	return true;
}

/* The line at `at` without its CRLF. The head was found by framing_find_end(): each line has one. */
static size_t
line_length(const char *at, const char *end)
{
	const char *lf = memchr(at, '\n', (size_t)(end - at));

	return (size_t)(lf - at) - 1;
}

bool
framing_check_head(const char *head, size_t len, struct framing_head *out, struct framing_fault *fault)
{
	struct head h = { .out = out, .fault = fault, .memory = len };
	const char *end = head + len, *at = head;
	size_t line_len = line_length(at, end);

	*out = (struct framing_head){ 0 };
	if (line_len < sizeof("X / HTTP/1.1") - 1)
		return refuse(fault, 400, "the request line is not \"METHOD TARGET HTTP/1.1\"");
	if (!check_request_line(&h, at, line_len))
		return false;
	for (at += line_len + 2; (line_len = line_length(at, end)) > 0; at += line_len + 2)
		if (!check_field(&h, at, line_len))
			return false;
	return check_whole(&h);
}

/* --- Chunks --- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
framing_chunk_size(const char *line, size_t len, uint64_t *size, size_t *digits)
{
	uint64_t n = 0;
	size_t i;

	if (len < 3 || line[len - 2] != '\r')
		return false;
	for (i = 0; i < len - 2 && hex_digit(line[i]) >= 0; i++) {
		if (i == 15)
			return false;
		n = n << 4 | (uint64_t)hex_digit(line[i]);
	}
	if (i == 0 || (i < len - 2 && line[i] != ';') || !is_field_text(line + i, len - 2 - i))
		return false;
	*size = n;
	*digits = i;
	return true;
}
