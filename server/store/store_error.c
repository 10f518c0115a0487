/* LMDB's errors as errors of ours. */
#include <stdarg.h>
#include <stdio.h>

#include "server/store/store_internal.h"

int
store_error(struct sp_error *err, int mdb_code, const char *fmt, ...)
{
	char what[256];
	va_list ap;
	int code;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	switch (mdb_code) {
	case MDB_NOTFOUND:
		code = SP_ENOTFOUND;
		break;
	case MDB_MAP_FULL:
		code = SP_EMAPFULL;
		break;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_BAD_TXN:
	case MDB_INCOMPATIBLE:
		code = SP_EBADDATA;
		break;
	case MDB_READERS_FULL:
		code = SP_EAGAIN;
		break;
	case MDB_TXN_FULL:
		code = SP_ETOOBIG;
		break;
	default:
		if (mdb_code > 0)
			return sp_error_errno(err, mdb_code, "%s", what);
		code = SP_EIO; /* MDB_PANIC among them: an update of the root failed */
	}
	return sp_error_set(err, code, "%s: %s", what, mdb_strerror(mdb_code));
}
