#include "lib/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/utf8.h"

static const struct {
	int code;
	int exit_code;
	const char *name;
	const char *text;
} codes[] = {
#define X(name, value, exit_code, text) { (value), (exit_code), #name, (text) },
	SP_ERRORS(X)
#undef X
};

static int
code_from_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return SP_ENOSPACE;
	case EACCES:
	case EPERM:
		return SP_EPERM;
	case EROFS:
	case ENOTDIR:
		return SP_EVOLUME;
	case ENOENT:
		return SP_ENOTFOUND;
	case ENOMEM:
		return SP_ENOMEM;
	default:
		return SP_EIO;
	}
}

int
sp_error_set(struct sp_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	utf8_repair(err->text);
	return code;
}

int
sp_error_errno(struct sp_error *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	if (err == NULL)
		return code_from_errno(errnum);
	err->code = code_from_errno(errnum);
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(errnum));
	utf8_repair(err->text);
	return err->code;
}

int
sp_error_wrap(struct sp_error *err, const char *fmt, ...)
{
	char before[SP_ERROR_TEXT_MAX];
	char inner[SP_ERROR_TEXT_MAX];
	va_list ap;
	size_t used;

	if (err == NULL)
		return SP_EINTERNAL;
	va_start(ap, fmt);
	vsnprintf(before, sizeof(before), fmt, ap);
	va_end(ap);
	memcpy(inner, err->text, sizeof(inner));
	snprintf(err->text, sizeof(err->text), "%.*s", (int)sizeof(err->text) - 3, before);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", inner);
	utf8_repair(err->text);
	return err->code;
}

const char *
sp_code_name(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].name;
	return code == 0 ? "SP_OK" : "SP_EUNNAMED";
}

const char *
sp_code_text(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].text;
	return code == 0 ? "no error" : "unknown error";
}

int
sp_code_exit(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].exit_code;
	return code == 0 ? 0 : 70;
}
