#include "conf/form.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "lib/base/number.h"
#include "lib/base/utf8.h"

const char *
form_check_bytes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\0')
			return "holds a NUL byte";
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "holds a control character";
	}
	return utf8_is_text(text, len) ? NULL : "is not UTF-8";
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
	uint64_t port;

	if (len == 0 || len > 5 || text[strspn(text, "0123456789")] != '\0')
		return "has no port after the last \":\"";
	return !number_from_text(text, 65535, &port) || port < 1 ? "has a port outside 1 to 65535" : NULL;
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
