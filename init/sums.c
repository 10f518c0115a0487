#include "init/sums.h"

#include <string.h>

#include "lib/protocol/sums_line.h"

static int
compare(const char *what, struct digest expected, struct digest found, struct sums_fault *fault, struct sp_error *err)
{
	int rc = sums_line_compare(what, expected, found, err);

	if (rc < 0) {
		digest_to_hex(expected, fault->expected);
		digest_to_hex(found, fault->found);
	}
	return rc;
}

int
sums_check(const char *text, size_t len, struct digest manifest, struct digest data, struct sums_fault *fault,
    struct sp_error *err)
{
	const char *at = text, *end = text + len;
	struct digest said_manifest, said_data, said_total, total;
	int rc;

	memset(fault, 0, sizeof(*fault));
	if (!sums_line_hash(&at, end, &said_manifest) || !sums_line_word(&at, end, "  seedpod.json\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 1 is not the hash of seedpod.json");
	if (!sums_line_hash(&at, end, &said_data) || !sums_line_word(&at, end, "  store/data.mdb\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 2 is not the hash of store/data.mdb");
	total = digest_of(text, (size_t)(at - text));
	if (!sums_line_word(&at, end, "# total ") || !sums_line_hash(&at, end, &said_total) ||
	    !sums_line_word(&at, end, "\n"))
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: line 3 is not the total");
	if (at != end)
		return sp_error_set(err, SP_EBADDATA, "seedpod.sums: there is more after line 3");
	if ((rc = compare("seedpod.sums itself", said_total, total, fault, err)) < 0 ||
	    (rc = compare("seedpod.json", said_manifest, manifest, fault, err)) < 0)
		return rc;
	return compare("store/data.mdb", said_data, data, fault, err);
}
