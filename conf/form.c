#include "conf/form.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Length of the UTF-8 sequence at p, 0 where there is none (RFC 3629: no overlong form, no surrogate, at most
 * U+10FFFF). */
static size_t
utf8_length(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high;
		size_t len;
	} shapes[] = {
		{ 0x00, 0x7f, 0x00, 0xff, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		size_t len = shapes[i].len;

		if (p[0] < shapes[i].first_low || p[0] > shapes[i].first_high)
			continue;
		if (len > left || (len > 1 && (p[1] < shapes[i].second_low || p[1] > shapes[i].second_high)))
			return 0;
		for (size_t j = 2; j < len; j++)
			if ((p[j] & 0xc0) != 0x80)
				return 0;
		return len;
	}
	return 0;
}

const char *
form_check_bytes(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0; i < len;) {
		size_t step = utf8_length(p + i, len - i);

		if (p[i] == '\0')
			return "holds a NUL byte";
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return "holds a control character";
		if (step == 0)
			return "is not UTF-8";
		i += step;
	}
	return NULL;
}

static const char *
check_dns(const char *text)
{
	if (text[0] == '\0')
		return "is empty";
	if (text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] != '\0')
		return "holds other characters than letters, digits, \"-\" and \".\"";
	if (!isalnum((unsigned char)text[0]) || !isalnum((unsigned char)text[strlen(text) - 1]))
		return "does not begin and end with a letter or digit";
	return NULL;
}

static const char *
check_port(const char *text)
{
	size_t len = strlen(text);
	long port;

	if (len == 0 || len > 5 || text[strspn(text, "0123456789")] != '\0')
		return "has no port after the last \":\"";
	port = strtol(text, NULL, 10);
	return port < 1 || port > 65535 ? "has a port outside 1 to 65535" : NULL;
}

/* host, [IPv6], each with :port, which may be missing where the scheme of a URL stands for it. */
static const char *
check_host_port(const char *text, bool need_port)
{
	char host[256];
	struct in6_addr ignored;
	const char *port;
	size_t len;

	if (text[0] == '[') {
		len = strcspn(text, "]");
		if (len >= sizeof(host) || text[len] != ']')
			return "has no \"]\" after its IPv6 address";
		snprintf(host, sizeof(host), "%.*s", (int)len - 1, text + 1);
		if (inet_pton(AF_INET6, host, &ignored) != 1)
			return "has no IPv6 address between \"[\" and \"]\"";
		port = text + len + 1;
		if (*port != ':' && *port != '\0')
			return "has something other than a port after \"]\"";
	} else {
		len = strcspn(text, ":");
		if (len >= sizeof(host))
			return "has too long a host name";
		snprintf(host, sizeof(host), "%.*s", (int)len, text);
		port = text + len;
		if (strchr(port, ':') != strrchr(port, ':'))
			return "has an IPv6 address without \"[\" and \"]\"";
		if (len == 0)
			return "has no host";
		if (check_dns(host) != NULL)
			return "has a host that is neither a DNS name nor an address";
	}
	if (*port == '\0')
		return need_port ? "has no port" : NULL;
	return check_port(port + 1);
}

static const char *
check_path(const char *text)
{
	return text[0] == '/' ? NULL : text[0] == '\0' ? "is empty" : "is not an absolute path";
}

static const char *
check_url(const char *text)
{
	const char *rest;

	if (strncmp(text, "http://", 7) == 0)
		rest = text + 7;
	else if (strncmp(text, "https://", 8) == 0)
		rest = text + 8;
	else
		return "does not begin with http:// or https://";
	if (strpbrk(rest, "/?#") != NULL)
		return "has a path or a slash at its end";
	if (strchr(rest, '@') != NULL)
		return "has a user name";
	return check_host_port(rest, false);
}

const char *
form_check(enum key_form form, const char *text)
{
	size_t len = strlen(text);
	const char *wrong = form_check_bytes(text, len);

	if (wrong != NULL)
		return wrong;
	if (len > 0 && (isspace((unsigned char)text[0]) || isspace((unsigned char)text[len - 1])))
		return "begins or ends with a blank";
	/* inih would take the rest of the line for a comment, so that --print could not show such a value. */
	if (text[0] == ';' || strstr(text, " ;") != NULL || strstr(text, "\t;") != NULL)
		return "holds a blank and \";\", which begins a comment";
	switch (form) {
	case FORM_POD_NAME:
	case FORM_DNS:
		return check_dns(text);
	case FORM_DNS_DEFAULT:
	case FORM_CERT_NAME:
		return text[0] == '\0' ? NULL : check_dns(text);
	case FORM_LISTEN:
		return check_host_port(text, true);
	case FORM_SOCKET:
		if (len >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return "is longer than 107 bytes";
		return check_path(text);
	case FORM_DIR:
		return check_path(text);
	case FORM_FILE:
	case FORM_FOLDER:
		return text[0] == '\0' ? NULL : check_path(text);
	case FORM_URL:
		return check_url(text);
	case FORM_ANY:
		break;
	}
	return NULL;
}

const char *
form_quote(const char *text, char *out, size_t size)
{
	size_t len = strlen(text), shown = len > 60 ? 57 : len;

	snprintf(out, size, "\"%.*s%s\"", (int)shown, text, shown < len ? "..." : "");
	for (char *p = out; *p != '\0'; p++)
		if (!isprint((unsigned char)*p) || (unsigned char)*p > 0x7e)
			*p = '?';
	return out;
}
